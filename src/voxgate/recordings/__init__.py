"""The bundled recordings: small, with known utterances, for demos and tests.

``reading`` is a human voice: five sentences read for LibriVox, which are in the public domain, collected by
``tools/make_reading.py``; `truth` comes from an alignment of their words. All others are made by
``tools/make_speech.py`` with espeak-ng; there `truth` has the times of each utterance, measured from its clean
signal before mixing: within 40 dB of the utterance's loudest 5 ms.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Utterance", "names", "path", "tolerance_s", "truth"]

_DIRECTORY = Path(__file__).parent


class Utterance(NamedTuple):
    """The words of one voice, audible from `start_s` to `end_s`, in seconds from the start of the file."""

    start_s: float
    end_s: float
    text: str
    voice: str


@cache
def _files() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_DIRECTORY / "truth.json").read_text(encoding="utf-8"))
    files: dict[str, Any] = document["files"]
    return files


def _known(name: str) -> Any:
    files = _files()
    if name not in files:
        raise KeyError(f"no bundled recording {name!r}; expected one of {', '.join(files)}")
    return files[name]


def names() -> tuple[str, ...]:
    """The names of the recordings; `demo` is the simplest, `reading` is a human voice."""
    return tuple(_files())


def path(name: str) -> Path:
    """The FLAC file of a recording (16 bit). Raises KeyError for an unknown name."""
    _known(name)
    return _DIRECTORY / f"{name}.flac"


def truth(name: str) -> tuple[tuple[Utterance, ...], ...]:
    """The utterances of each channel, sorted by time. Raises KeyError for an unknown name."""
    return tuple(tuple(Utterance(**line) for line in channel) for channel in _known(name)["channels"])


def tolerance_s(name: str) -> float:
    """The largest accepted difference between a detected time and the true one, in seconds: larger where the truth
    comes from an alignment of recorded words. Raises KeyError for an unknown name.
    """
    return float(_known(name).get("tolerance_s", 0.1))
