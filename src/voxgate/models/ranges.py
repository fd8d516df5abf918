"""The check of a numeric option of a bundled model."""

from __future__ import annotations

from voxgate.errors import shown

__all__ = ["check_number"]


def check_number(option: str, value: float, lowest: float, highest: float) -> float:
    """`value` as a float. Raises ValueError, naming the option, the range (ends included) and the value, for any other
    type than int and float, and for a value out of the range or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{option} must be a number of {lowest:g}..{highest:g}, not {value!r}")
    if not lowest <= value <= highest:
        # A huge integer has no float, and its digits are too many for an error.
        text = shown(value) if isinstance(value, int) else f"{value:g}"
        raise ValueError(f"{option} must be within {lowest:g}..{highest:g}, not {text}")
    return float(value)
