"""Numbers on the command line: what they may be, and what is said when they are not."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

__all__ = ["positive_float", "whole"]


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an argument that is a whole number; both ends are allowed."""
    expected = f"a whole number from {least}" if most is None else f"a whole number of {least} to {most}"

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= (int(text) if most is None else most):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return int(text)

    return parse


def positive_float(text: str) -> float:
    """The type of an argument that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value
