"""Pictures belong to the whole package."""

from __future__ import annotations

from typing import Any, NoReturn

from voxgate.errors import ConfigError

POINTS = 0


def check_target(path: str) -> NoReturn:
    """Raises ConfigError: this distribution draws nothing."""
    raise ConfigError("--plot is an option of the whole package: pip install 'voxgate[plot]', and voxgate client")


def place_of(path: str) -> str:
    return path


def __getattr__(name: str) -> Any:
    raise AttributeError(f"voxgate-client draws no pictures, so it has no {name!r}")
