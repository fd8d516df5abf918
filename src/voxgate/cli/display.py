"""Events as text for people, and as JSON lines."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from msgspec import UNSET

from voxgate.client.printable import printable
from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Event,
    Finished,
    Flushed,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    SpeechResumed,
    Started,
    UnknownEvent,
)
from voxgate.protocol.json_codec import encode_event

__all__ = [
    "JsonlRenderer",
    "PrettyRenderer",
    "Renderer",
    "Style",
    "count",
    "format_output",
    "n_settled",
    "printable",
    "show_value",
    "wants_colour",
]

_RESET = "\x1b[0m"
_UNESCAPED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # valid in JSON, but terminals obey them
_LONGEST_VALUE = 60
"""The most columns of a list or mapping. A longer one is summarized: its length, and the range of its numbers."""


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `stream` is a terminal with colours, and NO_COLOR is not set."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _can_say(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@dataclass(frozen=True)
class Style:
    """The style of text on one output.

    `colour` allows escape sequences, `plain` restricts Voxgate's own text to ASCII. Lines of more than `width` columns
    continue below their values (None: never).
    """

    colour: bool = False
    plain: bool = False
    width: int | None = None

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Style:
        width = shutil.get_terminal_size().columns if stream.isatty() else None
        return cls(wants_colour(stream, environ), not _can_say(stream, "–✓✗“”━─●○…"), width)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}{_RESET}" if self.colour else text

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def grey(self, text: str) -> str:
        return self._paint("90", text)

    def faded(self, text: str, begin: int, end: int) -> str:
        """`text` in grey, but for its characters from `begin` to `end`."""
        end = max(begin, end)
        before, solid, after = text[:begin], text[begin:end], text[end:]
        return (self.grey(before) if before else "") + solid + (self.grey(after) if after else "")

    def red(self, text: str) -> str:
        return self._paint("1;31", text)

    def green(self, text: str) -> str:
        return self._paint("32", text)

    def yellow(self, text: str) -> str:
        return self._paint("33", text)

    @property
    def dash(self) -> str:
        return "-" if self.plain else "–"

    def tick(self, good: bool) -> str:
        if self.plain:
            return "ok" if good else "!!"
        return "✓" if good else "✗"

    def quote(self, text: str) -> str:
        return f'"{text}"' if self.plain else f"“{text}”"

    def range(self, start_s: float, end_s: float) -> str:
        return f"{start_s:7.2f} {self.dash} {end_s:6.2f} s"

    def point(self, time_s: float) -> str:
        return f"{time_s:7.2f} s" + " " * 9


def count(n: int, what: str) -> str:
    """`1 result`, `2 results`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def show_value(value: Any) -> str:
    """A value of a model's output, shortened to one line."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return printable(value)
    text = printable(json.dumps(value, ensure_ascii=False))
    if len(text) <= _LONGEST_VALUE:
        return text
    if not isinstance(value, list):
        return f"{{{count(len(value), 'item')}}}"
    numbers = [one for one in value if isinstance(one, int | float) and not isinstance(one, bool)]
    if not numbers or any(one is not None and not isinstance(one, int | float) for one in value):
        return f"[{count(len(value), 'item')}]"
    return f"[{count(len(value), 'item')}, {show_value(min(numbers))} to {show_value(max(numbers))}]"


def format_output(output: Mapping[str, Any], style: Style) -> str:
    """A model's output in one line: its text first and in quotes, then `key value` pairs."""
    parts = []
    text = output.get("text")
    if isinstance(text, str):
        parts.append(style.quote(printable(text)))
    parts += [f"{printable(key)} {show_value(value)}" for key, value in output.items() if not (key == "text" and parts)]
    return "  ".join(parts) if parts else "(empty)"


def _wrapped(head: str, text: str, width: int | None) -> list[str]:
    """`head` and `text` in lines of at most `width` columns where possible, broken between values, never inside one."""
    lines = [head]
    for part in text.split("  "):
        separator = "  " if len(lines[-1]) > len(head) else ""
        if separator and width is not None and len(lines[-1]) + len(separator) + len(part) > width:
            lines.append(" " * len(head) + part)
        else:
            lines[-1] += separator + part
    return [line.rstrip() for line in lines]


def n_settled(event: Segment) -> int:
    """How many characters at the beginning of the printed text of an interim have settled; 0 also when the text has
    changed there.
    """
    text = event.output.get("text")
    if event.stable_text is UNSET or not event.stable_text or not isinstance(text, str):
        return 0
    # Stable words are joined by single spaces, whatever stands between them in the text.
    beginning = re.match("".join(rf"\s*{re.escape(one)}" for one in event.stable_text.replace(" ", "")), text)
    return 0 if beginning is None else len(printable(beginning[0]))


class Renderer(Protocol):
    """Turns an event into a line, or into None when it is not shown."""

    def line(self, event: Event) -> str | None: ...


class JsonlRenderer:
    """Each event as one line of JSON, as on the wire."""

    def line(self, event: Event) -> str | None:
        return _UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", encode_event(event))


class PrettyRenderer:
    """Aligned times, the kind of event, and the model's values; with several channels also the channel."""

    def __init__(self, style: Style, channels: int = 1) -> None:
        self._style = style
        self._channels = channels

    def line(self, event: Event) -> str | None:
        style = self._style
        blank = " " * len(style.point(0))
        match event:
            case Active(time=time_s):
                return self._row(event, style.point(time_s), "active", style.green)
            case Inactive(time=time_s):
                return self._row(event, style.point(time_s), "inactive", style.green)
            case SpeechResumed(time=time_s):
                return self._row(event, style.point(time_s), "resumed", style.green)
            case Segment(start_time=start_s, end_time=end_s, is_final=is_final, output=output):
                name = "segment" if is_final is UNSET else "final" if is_final else "interim"
                name = "eager" if event.eager is True else name
                paint = style.grey if is_final is False else style.bold
                text = format_output(output, style)
                if event.turn_probability is not UNSET:
                    text += f"  turn {show_value(event.turn_probability)}"
                return self._row(event, style.range(start_s, end_s), name, paint, text, n_settled(event))
            case Data(output=output):
                return self._row(event, blank, "data", style.bold, format_output(output, style))
            case Error(message=message, code=code):
                text = printable(message) + (f" ({printable(code)})" if code else "")
                return self._row(event, blank, "error", style.red, text)
            case Probabilities() | Flushed():
                return None  # useful in a plot; for a wire
            case Started(session_id=session_id, model=model, trace_id=trace_id):
                text = f"session {printable(session_id)}, model {printable(model)}"
                if trace_id is not None:
                    text += f", trace {printable(trace_id)}"
                return self._row(event, blank, "started", style.grey, text)
            case Progress():
                text = f"processed {event.processed_s:.2f} of {event.received_s:.2f} s, lag {event.lag_s:.2f} s"
                text += f", real-time factor {event.real_time_factor:.3g}"
                return self._row(event, blank, "progress", style.grey, text)
            case Finished():
                counts = f"{count(event.results, 'result')}, {count(event.errors, 'error')}"
                text = f"{event.received_s:.2f} s of audio, {counts}"
                return self._row(event, blank, "finished", style.grey, text)
            case Draining(grace_s=grace_s):
                return self._row(event, blank, "draining", style.yellow, f"the server stops within {grace_s:g} s")
            case UnknownEvent(type=kind, fields=fields):
                rest = {key: value for key, value in fields.items() if key not in ("type", "channel")}
                return self._row(event, blank, printable(kind), style.grey, format_output(rest, style))

    def _row(
        self, event: Event, times: str, name: str, paint: Callable[[str], str], text: str = "", n_solid: int = 0
    ) -> str:
        """`n_solid`: so many characters of the text behind its quotation mark are not painted."""
        channel = f"ch {event.channel}  " if self._channels > 1 else ""
        head = f"{channel}{times}  {name:<8}  "
        lines = _wrapped(head, text, self._style.width)
        painted = [paint(line) for line in lines]
        if n_solid:
            painted[0] = self._style.faded(lines[0], len(head) + 1, len(head) + 1 + n_solid)
        return "\n".join(painted)
