"""Ports for servers that are told theirs, or come back to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port of 127.0.0.1 that is given to nobody else. Who asks for it by number, with SO_REUSEADDR as servers do, can
    listen there as often as it likes; in between connections are refused.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))  # and never listens
        yield holder.getsockname()[1]
