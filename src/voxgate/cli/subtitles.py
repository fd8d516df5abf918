"""Results as subtitles: SubRip (srt) and WebVTT (vtt)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxgate.cli.display import printable, show_value
from voxgate.protocol.events import Event, Segment

__all__ = ["Subtitles"]

_SHORTEST_S = 0.001
_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Subtitles:
    """Collects the results of a stream, without interims.

    A result without text becomes `key=value` pairs; a result with empty text is left out.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._cues: list[tuple[float, float, int, str]] = []

    def take(self, event: Event) -> None:
        if isinstance(event, Segment) and event.is_final is not False and (text := _text(event.output)):
            end_s = max(event.end_time, event.start_time + _SHORTEST_S)
            self._cues.append((event.start_time, end_s, event.channel, text))

    def srt(self) -> str:
        """Cues sorted by time, numbered from 1; with several channels, each names its channel."""
        blocks = []
        for number, (start_s, end_s, channel, text) in enumerate(sorted(self._cues), 1):
            label = f"Channel {channel}: " if self._channels > 1 else ""
            text = text.replace("-->", "->")
            blocks.append(f"{number}\n{_clock(start_s, ',')} --> {_clock(end_s, ',')}\n{label}{text}\n")
        return "\n".join(blocks)

    def vtt(self) -> str:
        """Cues sorted by time; with several channels, each has a voice tag."""
        blocks = ["WEBVTT\n"]
        for start_s, end_s, channel, text in sorted(self._cues):
            voice = f"<v Channel {channel}>" if self._channels > 1 else ""
            text = text.translate(_VTT_ESCAPES)
            blocks.append(f"{_clock(start_s, '.')} --> {_clock(end_s, '.')}\n{voice}{text}\n")
        return "\n".join(blocks)


def _text(output: Mapping[str, Any]) -> str:
    text = output.get("text")
    if not isinstance(text, str):
        text = " ".join(f"{key}={show_value(value)}" for key, value in output.items())
    return " ".join(printable(text).split())  # a blank line would end the cue


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
