"""The files of the reference, by their place below docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .asyncapi import asyncapi
from .cli import cli
from .configuration import configuration
from .limits import limits
from .metrics import metrics
from .schema import events, requests

__all__ = ["pages", "write"]


def pages() -> dict[str, str]:
    """Every file that is made from the code, and what is in it."""
    return {
        "cli.md": cli(),
        "configuration.md": configuration(),
        "limits.md": limits(),
        "metrics.md": metrics(),
        "schema/asyncapi.json": _json(asyncapi()),
        "schema/client.json": _json(requests()),
        "schema/server.json": _json(events()),
    }


def write(docs: Path) -> None:
    """Writes all of them below `docs`."""
    for name, text in pages().items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
