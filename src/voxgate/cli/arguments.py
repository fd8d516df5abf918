"""Types of the numbers on the command line, with their ranges and errors."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["Kind", "number", "positive_float", "whole"]

T = TypeVar("T")


class Kind(Generic[T]):
    """The type of an argument, with the description of its values for errors and the reference."""

    def __init__(self, expected: str, parse: Callable[[str], T | None]) -> None:
        """`parse` returns None, or raises ValueError, for a text that is not `expected`."""
        self.expected: Final = expected
        self._parse: Final = parse

    def __call__(self, text: str) -> T:
        try:
            value = self._parse(text)
        except ValueError:
            value = None
        if value is None:
            raise argparse.ArgumentTypeError(f"expected {self.expected}, got {text!r}")
        return value


def whole(least: int, most: int | None = None) -> Kind[int]:
    """A whole number; both ends are allowed."""

    def parse(text: str) -> int | None:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= (int(text) if most is None else most):
            return None
        return int(text)

    return Kind(f"a whole number from {least}" if most is None else f"a whole number of {least} to {most}", parse)


def number(least: float, most: float) -> Kind[float]:
    """A number; both ends are allowed."""

    def parse(text: str) -> float | None:
        value = float(text)
        return value if least <= value <= most else None

    return Kind(f"a number of {least:g} to {most:g}", parse)


def _positive(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) and value > 0 else None


#: A number above 0.
positive_float: Final = Kind("a number above 0", _positive)
