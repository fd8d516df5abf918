"""The bundled speech: small recordings with known utterances, for demos and tests.

``reading`` is a human voice: five sentences read for LibriVox, which are in the public domain, collected by
``tools/make_reading.py``; `truth` comes from an alignment of their words. All others are made by
``tools/make_speech.py`` with espeak-ng; there `truth` says when each utterance is audible, measured from its clean
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
    """What one voice says: audible from `start_s` to `end_s`, in seconds from the start of the file."""

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
        raise KeyError(f"no bundled speech {name!r}; there are {', '.join(files)}")
    return files[name]


def names() -> tuple[str, ...]:
    """The recordings: `demo` is the plain one, `reading` the human one."""
    return tuple(_files())


def path(name: str) -> Path:
    """The FLAC file of a recording (16 bit). KeyError names the known ones."""
    _known(name)
    return _DIRECTORY / f"{name}.flac"


def truth(name: str) -> tuple[tuple[Utterance, ...], ...]:
    """For each channel its utterances in order of time. KeyError names the known recordings."""
    return tuple(tuple(Utterance(**line) for line in channel) for channel in _known(name)["channels"])


def tolerance_s(name: str) -> float:
    """How far a detector may be from the truth and still agree with it, in seconds: more where the truth was found by
    an alignment of recorded words. KeyError names the known recordings.
    """
    return float(_known(name).get("tolerance_s", 0.1))
