"""What `make bench-turns` compares: settings of the server, models, and loads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent

SILENCE_MS = 600
DEFAULT = "speculation"
"""The name of the default settings."""
BASE = f"silence {SILENCE_MS} ms"
"""The setting that defines the loads: finals alone."""


@dataclass(frozen=True)
class Setting:
    """`settings`: of the server, beside the defaults."""

    name: str
    settings: Mapping[str, Any]
    silence_ms: int = SILENCE_MS
    interims: bool = False
    """Whether the streams ask for interim results."""
    needs_words: bool = False
    is_at_half: bool = False
    """Whether it is measured at 50 % load, too."""

    @property
    def has_detector(self) -> bool:
        return "turn.detector" in self.settings


@dataclass(frozen=True)
class ModelCase:
    """A model, and how many calls it runs at a time."""

    name: str
    settings: Mapping[str, Any]
    threads: int
    loads: tuple[int, ...]
    """In percent of the time in which its threads are busy, with the setting BASE; 0: a few streams."""
    has_processor: bool
    """Whether it computes: then one server is measured at a time."""


def settings(smart_turn: Path | None) -> list[Setting]:
    """All settings; those of Smart Turn only with its file."""
    silent: dict[str, Any] = {"vad.speculate_ms": 0}
    found = [
        Setting(f"silence {ms} ms", {**silent, "vad.silence_duration_ms": ms}, ms, is_at_half=ms == SILENCE_MS)
        for ms in (600, 400, 200)
    ]
    found.append(Setting(DEFAULT, {}, is_at_half=True))
    detectors = [("text", "text", True)]
    if smart_turn is not None:
        detectors.insert(0, ("smart-turn", f"smart-turn:{smart_turn}", False))
    for name, detector, reads in detectors:
        turn = {"turn.detector": detector}
        found += [
            Setting(name, {**silent, **turn}, interims=reads, needs_words=reads),
            Setting(f"{name} and speculation", turn, interims=reads, needs_words=reads, is_at_half=True),
        ]
    return found


MOONSHINE = ModelCase("moonshine", {"model": "moonshine"}, os.cpu_count() or 1, (0, 50, 80), True)
FIXED = ModelCase("300 ms", {"model": "turn_model:FixedTime"}, 2, (0, 80), False)
MODELS = (MOONSHINE, FIXED)


def server_settings(model: ModelCase, setting: Setting) -> dict[str, Any]:
    """Of one server."""
    words = {"model.words": "true"} if setting.needs_words and model is FIXED else {}
    open_doors = {"limits.streams_per_address": 10_000, "limits.queue_wait_s": 3600}
    return {**model.settings, **words, **open_doors, "inference.threads": model.threads, **setting.settings}
