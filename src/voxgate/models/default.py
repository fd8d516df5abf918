"""Which model is served when nobody names one."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AUTO", "Choice", "choose"]

AUTO = "auto"
"""The name that stands for this choice; the default of ``model.name``."""


class Choice(NamedTuple):
    """A model, and why it is served, as words that follow "because"."""

    name: str
    reason: str


def choose() -> Choice:
    """`moonshine` where it is installed, else `features`, which needs nothing. Imports neither."""
    from voxgate.models import moonshine

    if (lacking := moonshine.missing()) is None:
        return Choice("moonshine", "no model was named and the extra 'moonshine' is installed")
    return Choice("features", f"no model was named, and model 'moonshine' {lacking}")
