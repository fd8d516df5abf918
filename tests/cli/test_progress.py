"""The line of a command that waits."""

from __future__ import annotations

import io
import threading

import pyte

from voxgate.cli.progress import Waiting


class Terminal(io.StringIO):
    """Feeds a terminal emulator, and tells when something was shown."""

    def __init__(self, is_terminal: bool = True) -> None:
        super().__init__()
        self.screen = pyte.Screen(80, 3)
        self._stream = pyte.Stream(self.screen)
        self._is_terminal = is_terminal
        self.shown = threading.Event()

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        self._stream.feed(text)
        if " ... " in text:
            self.shown.set()
        return super().write(text)


def test_the_line() -> None:
    waiting = Waiting(io.StringIO(), "loading")
    assert waiting.line(2.1) == "loading ... 2 s"
    measured = Waiting(io.StringIO(), "load", total_s=30)
    assert measured.line(12.4) == "load ... 12 of 30 s"
    assert measured.line(31) == "load ... 31 s"


def test_it_is_shown_while_the_block_runs_and_gone_after_it() -> None:
    out = Terminal()
    with Waiting(out, "loading", quiet_s=0.0, interval_s=0.001):
        assert out.shown.wait(30)
        assert out.screen.display[0].startswith("loading ... ")
    assert "".join(out.screen.display).strip() == ""


def test_a_short_wait_shows_nothing() -> None:
    out = Terminal()
    with Waiting(out, "loading", quiet_s=3600):
        pass
    assert out.getvalue() == ""


def test_a_file_gets_nothing() -> None:
    out = Terminal(is_terminal=False)
    with Waiting(out, "loading", quiet_s=0.0):
        pass
    assert out.getvalue() == ""


def test_a_terminal_that_is_gone_ends_the_line_alone() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            super().write(text)
            raise OSError("gone")

    out = Gone()
    with Waiting(out, "loading", quiet_s=0.0):
        assert out.shown.wait(30)
