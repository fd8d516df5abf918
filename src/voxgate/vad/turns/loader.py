"""Turn detectors by name."""

from __future__ import annotations

from typing import Any

from voxgate.errors import ConfigError
from voxgate.protocol.formats import MAX_RATE, MIN_RATE
from voxgate.runtime.import_name import ImportNameError, import_name
from voxgate.vad.turns.base import TurnDetector

__all__ = ["load_turn_detector", "public_name"]

SMART_TURN = "smart-turn"
MAX_WINDOW_S = 60.0


def load_turn_detector(name: str) -> TurnDetector:
    """The detector of this name: "text", "smart-turn:PATH", or "pkg.module:Name", a class or a function that makes one.

    Reads files and imports modules. Raises ConfigError naming the detector and what is wrong with it.
    """
    if name == "text":
        from voxgate.vad.turns.text import TextTurns

        return TextTurns()
    kind, _, path = name.partition(":")
    if kind == SMART_TURN and path:
        from voxgate.vad.turns.smart_turn import SmartTurn

        return SmartTurn(path)
    if not path:
        raise ConfigError(f"unknown turn detector {name!r}: expected text, smart-turn:PATH or pkg.module:Name")
    return _checked(name, _made(name))


def public_name(name: str) -> str:
    """The name for clients: without the path of a file."""
    return SMART_TURN if name.startswith(f"{SMART_TURN}:") else name


def _made(name: str) -> Any:
    try:
        make = import_name(name)
    except ImportNameError as error:
        raise ConfigError(f"turn detector {name!r}: {error}") from error.__cause__
    if not callable(make):
        raise ConfigError(f"turn detector {name!r} must be a class or a function, got {type(make).__name__}")
    try:
        return make()
    except Exception as error:
        raise ConfigError(f"turn detector {name!r} cannot be made: {type(error).__name__}: {error}") from error


def _checked(name: str, detector: Any) -> TurnDetector:
    if not isinstance(detector, TurnDetector):
        raise ConfigError(f"turn detector {name!r} must be a voxgate.TurnDetector, got {type(detector).__name__}")
    rate, window_s = detector.sample_rate, detector.window_s
    if isinstance(rate, bool) or not isinstance(rate, int) or not MIN_RATE <= rate <= MAX_RATE:
        raise ConfigError(
            f"turn detector {name!r}: sample_rate must be an integer, {MIN_RATE}..{MAX_RATE}, got {rate!r}"
        )
    if isinstance(window_s, bool) or not isinstance(window_s, int | float) or not 0 < window_s <= MAX_WINDOW_S:
        raise ConfigError(
            f"turn detector {name!r}: window_s must be above 0 and at most {MAX_WINDOW_S:g} s, got {window_s!r}"
        )
    return detector
