"""Subtitles: SubRip (srt) and WebVTT (vtt)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Cue", "srt", "vtt"]

_SHORTEST_S = 0.001
_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Cue(NamedTuple):
    """A text from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""
    """Named with the text; empty: nobody is."""


def srt(cues: Iterable[Cue]) -> str:
    """Cues sorted by time, numbered from 1. A cue with an empty text is left out."""
    blocks = []
    for number, cue in enumerate(_sorted(cues), 1):
        label = f"{cue.speaker}: " if cue.speaker else ""
        text = cue.text.replace("-->", "->")
        blocks.append(f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{label}{text}\n")
    return "\n".join(blocks)


def vtt(cues: Iterable[Cue]) -> str:
    """Cues sorted by time; the speaker is a voice tag. A cue with an empty text is left out."""
    blocks = ["WEBVTT\n"]
    for cue in _sorted(cues):
        voice = f"<v {cue.speaker}>" if cue.speaker else ""
        text = cue.text.translate(_VTT_ESCAPES)
        blocks.append(f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{voice}{text}\n")
    return "\n".join(blocks)


def _sorted(cues: Iterable[Cue]) -> list[Cue]:
    """Each on one line, because a blank one would end the cue, and of a length that players show."""
    shown = (
        cue._replace(text=text, end_s=max(cue.end_s, cue.start_s + _SHORTEST_S))
        for cue in cues
        if (text := " ".join(cue.text.split()))
    )
    return sorted(shown, key=lambda cue: (cue.start_s, cue.end_s, cue.speaker, cue.text))


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
