"""Signals of the processes that tests start."""

from __future__ import annotations

import signal

__all__ = ["let_children_hear"]


def let_children_hear() -> None:
    """Processes that are started from here on get every signal's default action, whatever this one inherited: where a
    shell runs the tests in the background (``nohup make test &``), SIGINT and SIGHUP are ignored, and what is ignored
    stays so in children, while a handler does not.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: object) -> None:
    pass
