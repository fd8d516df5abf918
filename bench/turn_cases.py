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
    loads: tuple[int, ...] = (0, 80, 100)
    """At which it is measured, if the model is."""
    needs_words: bool = False
    models: tuple[str, ...] = ("moonshine", "300 ms")
    """With which it is measured."""

    @property
    def computes(self) -> bool:
        """Whether it needs the processor beside the model."""
        return "turn.detector" in self.settings

    @property
    def is_short_silence(self) -> bool:
        return self.silence_ms < SILENCE_MS


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


EARLY_MS = 32
"""Speculation in the first frame of silence."""
ALL_LOADS = (0, 50, 80, 100)


def settings(smart_turn: Path | None) -> list[Setting]:
    """All settings; those of Smart Turn only with its file."""
    silent: dict[str, Any] = {"vad.speculate_ms": 0}
    found = [
        Setting(f"silence {ms} ms", {**silent, "vad.silence_duration_ms": ms}, ms, loads=ALL_LOADS)
        if ms == SILENCE_MS
        else Setting(f"silence {ms} ms", {**silent, "vad.silence_duration_ms": ms}, ms)
        for ms in (600, 400, 200)
    ]
    found.append(Setting(DEFAULT, {}, loads=ALL_LOADS))
    if smart_turn is not None:
        found += _with_detector("smart-turn", f"smart-turn:{smart_turn}", reads=False)
    return found + _with_detector("text", "text", reads=True)


def _with_detector(name: str, detector: str, *, reads: bool) -> list[Setting]:
    """Without speculation, and with early speculation. reads: the detector needs the text, which without speculation is
    that of an interim.
    """
    turn: dict[str, Any] = {"turn.detector": detector}
    alone = {**turn, "vad.speculate_ms": 0}
    early = {**turn, "vad.speculate_ms": EARLY_MS}
    return [
        Setting(name, alone, interims=reads, loads=(0,), needs_words=reads, models=("moonshine",)),
        Setting(f"{name}, early {DEFAULT}", early, needs_words=reads),
    ]


MOONSHINE = ModelCase("moonshine", {"model": "moonshine"}, os.cpu_count() or 1, (0, 50, 80), True)
FIXED = ModelCase("300 ms", {"model": "turn_model:FixedTime"}, 2, (0, 80), False)
MODELS = (MOONSHINE, FIXED)


def server_settings(model: ModelCase, setting: Setting) -> dict[str, Any]:
    """Of one server."""
    words = {"model.words": "true"} if setting.needs_words and model is FIXED else {}
    open_doors = {"limits.streams_per_address": 10_000, "limits.queue_wait_s": 3600}
    return {**model.settings, **words, **open_doors, "inference.threads": model.threads, **setting.settings}
