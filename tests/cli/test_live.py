"""The status at the bottom of a terminal, on a screen that is not ours."""

from __future__ import annotations

import io
import math
import os
import re
from typing import Any

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.cli.display import Style
from voxgate.cli.live import LiveStatus, View, columns_of, cut, status_lines
from voxgate.protocol.events import Segment

TALK = Segment(0.7, 3.1, False, {"text": "good morning everybody"}, 0)


class Screen(io.StringIO):
    """A terminal of so many columns; what it shows is worked out by pyte."""

    encoding = "utf-8"

    def __init__(self, columns: int, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, lines)
        self.screen.set_mode(pyte.modes.LNM)  # as a tty does, a line feed begins a line
        self._stream = pyte.Stream(self.screen)
        self._monkeypatch = monkeypatch
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, lines)))

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text)
        return len(text)

    def shown(self) -> list[str]:
        lines = [line.rstrip() for line in self.screen.display]
        return [line for line in lines if line]


def lines(columns: int = 200, **fields: Any) -> list[str]:
    return status_lines(View(**fields), Style(), columns)


def test_what_stands_in_the_status() -> None:
    assert lines(
        sent_s=2.34, duration_s=12.5, n_results=3, levels_dbfs=[-30.0], speaking=[True], lag_s=0.12,
        real_time_factor=0.051, interim=TALK,
    ) == [
        " ● speaking  ━━━━━━──────  -30 dBFS  2.3 / 12.5 s  lag 0.1 s  real-time factor 0.051  3 results",
        " 0.7 – 3.1 s  “good morning everybody”",
    ]  # fmt: skip
    assert lines(sent_s=9.0, all_sent=True, n_results=1, n_errors=2, levels_dbfs=[-9.0], speaking=[False]) == [
        " ○ silent    9.0 s  waiting for results  1 result  2 errors"
    ]
    assert lines(levels_dbfs=[-math.inf]) == [" ──────────── -inf dBFS  0.0 s  0 results"]
    assert lines(channels=2, levels_dbfs=[0.0, -99.0], speaking=[True, False], interim=TALK) == [
        " ch 0 ●  ━━━━━━    0  ch 1 ○  ──────  -99  0.0 s  0 results",
        " ch 0  0.7 – 3.1 s  “good morning everybody”",
    ]
    assert lines(trouble="no connection", sent_s=3.0) == [" no connection"]


def test_where_only_ascii_can_be_said() -> None:
    view = View(levels_dbfs=[-30.0], speaking=[True], interim=TALK)
    text = "\n".join(status_lines(view, Style(plain=True), 100))
    assert text.isascii()
    assert text.startswith(" * speaking  ######......  -30 dBFS")
    assert "\x1b" not in text


def test_colours_never_change_the_width() -> None:
    view = View(levels_dbfs=[-30.0], speaking=[True], lag_s=2.0, interim=TALK, n_errors=1)
    painted = status_lines(view, Style(colour=True), 70)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in painted] == status_lines(view, Style(), 70)
    assert "\x1b[33m  lag 2.0 s" in painted[0]


@pytest.mark.parametrize(
    ("columns", "solid"), [(80, "good morning"), (40, "good morning"), (36, "ood morning"), (31, "orning"), (26, "g")]
)
def test_the_settled_part_of_an_interim_is_solid(columns: int, solid: str) -> None:
    event = Segment(1.0, 2.5, False, {"text": "good morning everybody"}, stable_text="good morning")
    _, line = status_lines(View(interim=event), Style(colour=True), columns)
    assert "".join(re.split(r"\x1b\[90m.*?\x1b\[0m", line)) == solid
    assert re.sub(r"\x1b\[[0-9;]*m", "", line) == status_lines(View(interim=event), Style(), columns)[1]


@given(st.integers(1, 120), st.text(max_size=60), st.integers(1, 8), st.floats(-90, 0), st.booleans())
def test_never_wider_than_the_terminal(columns: int, text: str, channels: int, level: float, plain: bool) -> None:
    view = View(
        12.3, 99.9, False, 7, 1, [level] * channels, [True] * channels, 0.5, 0.1,
        Segment(0, 1, False, {"text": text}, channels - 1), "", channels,
    )  # fmt: skip
    for one in (view, View(trouble=text.replace("\n", " "), channels=channels)):
        for line in status_lines(one, Style(plain=plain), columns):
            assert columns_of(line) <= columns
            assert "\n" not in line


def test_of_words_that_go_on_the_end_is_kept() -> None:
    assert cut("good morning", 7, keep_end=True) == "morning"
    assert cut("good morning", 4) == "good"
    assert cut("日本語", 4) == "日本"
    assert cut("日本語", 5, keep_end=True) == "本語"
    assert columns_of("e\u0301日") == 3
    assert lines(30, interim=TALK)[1].endswith("everybody”")
    assert lines(11, interim=TALK)[1].endswith("everybody”")


def test_it_is_drawn_in_place_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Screen(80, 10, monkeypatch)
    live = LiveStatus(terminal, enabled=True)
    for i in range(30):
        live.update(i / 10, lambda i=i: View(sent_s=i, interim=TALK if i % 3 else None))  # type: ignore[misc]
        if i % 10 == 9:
            live.clear()
            terminal.write(f"result {i}\n")
    live.update(99.0, lambda: View(sent_s=30.0, interim=TALK))
    assert [line.split("  ")[0] for line in terminal.shown()] == [
        "result 9", "result 19", "result 29", " 30.0 s", " 0.7 – 3.1 s",
    ]  # fmt: skip
    live.clear()
    assert terminal.shown() == ["result 9", "result 19", "result 29"]


def test_at_the_bottom_of_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Screen(40, 4, monkeypatch)
    live = LiveStatus(terminal, enabled=True)
    for i in range(20):
        live.clear()
        terminal.write(f"result {i}\n")
        live.update(i, lambda: View(interim=TALK))
    assert [line.split("  ")[0] for line in terminal.shown()] == ["result 18", "result 19", " 0.0 s", " 0.7 – 3.1 s"]


def test_a_resize_erases_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Screen(80, 10, monkeypatch)
    live = LiveStatus(terminal, enabled=True)
    terminal.write("one\ntwo\n")
    for i, columns in enumerate((80, 20, 7, 120, 33)):
        terminal.resize(columns, 10)
        live.update(i, lambda: View(levels_dbfs=[-20.0], speaking=[True], interim=TALK))
    assert terminal.shown()[:2] == ["one", "two"]
    live.clear()
    assert terminal.shown() == ["one", "two"]


def test_a_terminal_of_one_line_has_one_line_of_status(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Screen(40, 2, monkeypatch)
    LiveStatus(terminal, enabled=True).update(0.0, lambda: View(interim=TALK))
    assert len(terminal.shown()) == 1


def test_at_most_ten_times_a_second_and_never_when_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    n_views = 0

    def view() -> View:
        nonlocal n_views
        n_views += 1
        return View()

    terminal = Screen(40, 5, monkeypatch)
    live = LiveStatus(terminal, enabled=True)
    for i in range(1000):
        live.update(i / 1000, view)
    assert 9 <= n_views <= 11
    quiet = io.StringIO()
    off = LiveStatus(quiet, enabled=False)
    off.update(0.0, view)
    off.clear()
    assert quiet.getvalue() == ""
