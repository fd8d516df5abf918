"""The status of a running stream in the last lines of a terminal."""

from __future__ import annotations

import math
import os
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from voxgate.cli.display import Style, count, format_output, n_settled, printable
from voxgate.protocol.events import Segment

__all__ = ["LiveStatus", "View", "cut", "status_lines"]

_INTERVAL_S = 0.1
_QUIETEST_DBFS = -60.0
_METER_CELLS = 12
_SMALL_METER_CELLS = 6
_GAP = "  "

_Piece = tuple[str, Callable[[str], str]]


@dataclass
class View:
    """The state of a stream at one moment."""

    sent_s: float = 0.0
    duration_s: float | None = None
    all_sent: bool = False
    n_results: int = 0
    n_errors: int = 0
    levels_dbfs: Sequence[float] = ()
    """One per channel; empty without audio."""
    speaking: Sequence[bool] = ()
    """One per channel; empty on routes without voice activity."""
    lag_s: float | None = None
    real_time_factor: float | None = None
    interim: Segment | None = None
    trouble: str = ""
    """A problem, shown in place of everything else."""
    channels: int = field(default=1)


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def columns_of(text: str) -> int:
    """The number of terminal columns that `text` occupies."""
    return sum(map(_width, text))


def cut(text: str, columns: int, keep_end: bool = False) -> str:
    """The part of `text` that fits: its beginning, or with `keep_end` its end, where growing text is new."""
    if columns_of(text) <= columns:
        return text
    kept = []
    for character in reversed(text) if keep_end else text:
        columns -= _width(character)
        if columns < 0:
            break
        kept.append(character)
    return "".join(reversed(kept) if keep_end else kept)


def status_lines(view: View, style: Style, columns: int) -> list[str]:
    """One line, and a second one while there is an interim; never wider than `columns`."""
    if view.trouble:
        return [style.yellow(cut(" " + view.trouble, columns))]
    first = _fitting(_pieces(view, style), columns)
    return [first] if view.interim is None else [first, _interim_line(view.interim, view.channels, style, columns)]


def _fitting(pieces: list[_Piece], columns: int) -> str:
    """The pieces that fit beside the ones before them; the first is cut when even it is too long."""
    line, used = "", 0
    for text, paint in pieces:
        text = (" " if not line else _GAP) + text
        if used + columns_of(text) > columns:
            if line:
                continue
            text = cut(text, columns)
        line += paint(text)
        used += columns_of(text)
    return line


def _plain(text: str) -> str:
    return text


def _pieces(view: View, style: Style) -> list[_Piece]:
    """The pieces in order, the most important ones first."""
    pieces: list[_Piece] = []
    many = view.channels > 1
    for channel in range(view.channels):
        name = f"ch {channel} " if many else ""
        if channel < len(view.speaking):
            active = view.speaking[channel]
            mark = ("*" if active else "o") if style.plain else "●" if active else "○"
            word = "" if many else " speaking" if active else " silent  "
            pieces.append((name + mark + word, style.green if active else style.grey))
        elif many:
            pieces.append((name.rstrip(), style.grey))
        if channel < len(view.levels_dbfs) and not view.all_sent:
            pieces.append((_meter(view.levels_dbfs[channel], many, style), _plain))
    of = "" if view.duration_s is None else f" / {view.duration_s:.1f}"
    pieces.append((f"{view.sent_s:.1f}{of} s", _plain))
    if view.lag_s is not None:
        pieces.append((f"lag {view.lag_s:.1f} s", style.yellow if view.lag_s >= 1.0 else _plain))
    if view.real_time_factor is not None:
        pieces.append((f"real-time factor {view.real_time_factor:.2g}", style.grey))
    if view.all_sent:
        pieces.append(("waiting for results", style.grey))
    pieces.append((count(view.n_results, "result"), style.grey))
    if view.n_errors:
        pieces.append((count(view.n_errors, "error"), style.red))
    return pieces


def _meter(level_dbfs: float, small: bool, style: Style) -> str:
    cells = _SMALL_METER_CELLS if small else _METER_CELLS
    share = 0.0 if math.isinf(level_dbfs) else min(1.0, max(0.0, 1 - level_dbfs / _QUIETEST_DBFS))
    n_full = round(share * cells)
    full, empty = ("#", ".") if style.plain else ("━", "─")
    number = " -inf" if math.isinf(level_dbfs) else f"{level_dbfs:5.0f}"
    return full * n_full + empty * (cells - n_full) + number + ("" if small else " dBFS")


def _interim_line(interim: Segment, channels: int, style: Style, columns: int) -> str:
    channel = f"ch {interim.channel}  " if channels > 1 else ""
    head = f" {channel}{interim.start_time:.1f} {style.dash} {interim.end_time:.1f} s  "
    text = interim.output.get("text")
    room = columns - columns_of(head)
    if room < 12:
        head, room = " ", columns - 1
    body = style.quote(printable(text)) if isinstance(text, str) else format_output(interim.output, style)
    shown = cut(body, room, keep_end=isinstance(text, str))
    begin = len(head) - (len(body) - len(shown)) + 1  # where the text would begin, behind its quotation mark
    return style.faded(cut(head + shown, columns), max(len(head), begin), begin + n_settled(interim))


def _size(stream: TextIO) -> os.terminal_size:
    try:
        return os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return shutil.get_terminal_size()


class LiveStatus:
    """The last lines of a terminal, drawn again in place. Does nothing when `enabled` is false.

    `clear` it before anything else is printed on the terminal; `update` draws it again, at most ten times a second.
    """

    def __init__(self, stream: TextIO, enabled: bool) -> None:
        self.enabled = enabled
        self._stream = stream
        self._style = Style.of(stream)
        self._n_drawn = 0
        self._next_s = float("-inf")

    def update(self, now_s: float, view: Callable[[], View]) -> None:
        """Draws the status if it is due. `now_s`: of any monotonic clock. `view` is called only for drawing."""
        if not self.enabled or now_s < self._next_s:
            return
        self._next_s = now_s + _INTERVAL_S
        size = _size(self._stream)
        # The last column stays free: some terminals begin a new line once it is filled.
        lines = status_lines(view(), self._style, size.columns - 1)[: max(1, size.lines - 1)]
        self._stream.write(self._erase() + "\n".join(lines))
        self._stream.flush()
        self._n_drawn = len(lines)

    def clear(self) -> None:
        if self._n_drawn:
            self._stream.write(self._erase())
            self._stream.flush()
            self._n_drawn = 0
            self._next_s = float("-inf")

    def _erase(self) -> str:
        # Up by the number of lines drawn, not by the number they occupy in a window that has become narrower: a part of
        # an old status may remain, but no result is ever erased.
        if not self._n_drawn:
            return ""
        return "\r" + "\x1b[A" * (self._n_drawn - 1) + "\x1b[J"
