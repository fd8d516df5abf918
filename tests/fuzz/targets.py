"""The targets: every module here named fuzz_*, with a function ``fuzz(data)`` and a few inputs to begin with, SEEDS."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

NAMES = sorted(path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.py"))


def load(name: str) -> ModuleType:
    return importlib.import_module(f"fuzz.fuzz_{name}")
