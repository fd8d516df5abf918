"""The fields of OpenAI's APIs that a model may have as options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from voxgate.service.service import Service

__all__ = ["options_of", "wanted_options"]

#: A client may send them to any model: they are given to a model that takes them, and ignored by all others.
NAMES: Final = ("language", "prompt", "keywords")


def wanted_options(service: Service) -> Sequence[str]:
    """Those that the model takes."""
    return [name for name in NAMES if name in service.session_options.names]


def options_of(fields: Mapping[str, Any], service: Service) -> dict[str, Any] | None:
    """The options of a session, of what a client sent: those that the model takes. None: none."""
    given = {name: fields[name] for name in wanted_options(service) if fields.get(name) not in (None, "", [])}
    return given or None
