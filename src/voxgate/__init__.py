"""Voxgate turns any Python audio model into a live streaming service.

What a model needs is here: derive from :class:`Model` (or write a plain function ``f(audio) -> dict``), raise
:class:`InferenceError` for what the client should read, and serve it with ``voxgate serve --model
mypkg.asr:Transcriber``.

Importing this package loads nothing else; each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voxgate.runtime import moved

if TYPE_CHECKING:
    from voxgate.errors import InferenceError
    from voxgate.models.base import Batch, Model
    from voxgate.models.request import Request
    from voxgate.vad.turns.base import TurnDetector, TurnQuestion

__all__ = ["Batch", "InferenceError", "Model", "Request", "TurnDetector", "TurnQuestion", "__version__"]

__version__ = "0.2.0"

_HOMES = {
    "Batch": "voxgate.models.base",
    "InferenceError": "voxgate.errors",
    "Model": "voxgate.models.base",
    "Request": "voxgate.models.request",
    "TurnDetector": "voxgate.vad.turns.base",
    "TurnQuestion": "voxgate.vad.turns.base",
}

moved.install()


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'voxgate' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
