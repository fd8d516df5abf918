"""The line between a server process and its supervisor: a socket on which the process reports, once, whether it serves,
and shows again and again that it does not hang. The supervisor sends nothing; it is gone when its end closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
from typing import Final

__all__ = ["Lifeline", "ReportReader"]

BEATS: Final = 5
"""Within the time after which the supervisor takes a silent process for hung."""

_BEAT: Final = b"\n"


class Lifeline:
    """The end of the server process. Any thread may call it."""

    def __init__(self, sock: socket.socket, hang_timeout_s: float) -> None:
        """`hang_timeout_s`: how long the supervisor tolerates silence; 0: for ever, and no beats are sent."""
        self._socket = sock
        self.interval_s = hang_timeout_s / BEATS if hang_timeout_s else None
        self._is_loading = True

    def report(self, failure: str | None) -> None:
        """None: the process serves; otherwise why it cannot."""
        self._socket.sendall(json.dumps({"failed": failure}).encode() + b"\n")

    def beat(self) -> None:
        """Does not wait, also when the supervisor is stopped and reads nothing."""
        with contextlib.suppress(OSError):
            self._socket.send(_BEAT, socket.MSG_DONTWAIT)

    async def run(self) -> None:
        """Sends beats from the event loop: from now on they show that the loop runs."""
        self._is_loading = False
        while self.interval_s is not None:
            self.beat()
            await asyncio.sleep(self.interval_s)

    def wait_closed(self) -> None:
        """Blocks its thread until the supervisor is gone. Sends beats until `run` does: while the model loads they show
        that some thread runs.
        """
        poller = select.poll()
        poller.register(self._socket, 0)  # only the hang-up, which is always reported
        while not poller.poll(1000 * self.interval_s if self.interval_s is not None and self._is_loading else None):
            self.beat()


class ReportReader:
    """Parses the bytes that come from a server process, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        """The failures that `data` completes; None among them stands for a process that serves. Beats are skipped."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line)["failed"] for line in lines if line]
