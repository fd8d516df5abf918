"""The --set option: settings by their dotted names."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from voxgate.errors import ConfigError

__all__ = ["add_set_option", "settings_of"]


def add_set_option(parser: argparse._ActionsContainer, about: str, section: str = "") -> None:
    """section: shown in front of KEY, with its dot."""
    parser.add_argument("--set", metavar=f"{section}KEY=VALUE", action="append", default=[], help=about)


def settings_of(texts: Iterable[str], section: str = "") -> dict[str, str]:
    """The values by key. Raises ConfigError for a text that is not ``KEY=VALUE`` with a key of this section."""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and key.startswith(section)):
            raise ConfigError(f"--set {text}: expected {section}KEY=VALUE")
        settings[key] = value
    return settings
