"""The results of a stream as subtitles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxgate.cli.display import printable, show_value
from voxgate.protocol import subtitles
from voxgate.protocol.events import Event, Segment
from voxgate.protocol.subtitles import Cue

__all__ = ["Subtitles"]


class Subtitles:
    """Collects the results of a stream, without interims.

    A result without text becomes `key=value` pairs; a result with empty text is left out. With several channels, each
    cue names its channel.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._cues: list[Cue] = []

    def take(self, event: Event) -> None:
        if isinstance(event, Segment) and event.is_final is not False:
            speaker = f"Channel {event.channel}" if self._channels > 1 else ""
            self._cues.append(Cue(event.start_time, event.end_time, _text(event.output), speaker))

    def srt(self) -> str:
        return subtitles.srt(self._cues)

    def vtt(self) -> str:
        return subtitles.vtt(self._cues)


def _text(output: Mapping[str, Any]) -> str:
    text = output.get("text")
    if not isinstance(text, str):
        text = " ".join(f"{key}={show_value(value)}" for key, value in output.items())
    return printable(text)
