"""A plain function as a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from voxgate.models.base import Model, Samples

__all__ = ["FunctionModel"]


class FunctionModel(Model):
    """Makes ``function(audio) -> mapping`` a :class:`voxgate.Model`: audio, result, errors and threads exactly as
    for :meth:`voxgate.Model.infer`.

    The function may carry ``sample_rate``, ``threads`` and ``holds_gil`` as attributes, with the meaning they have on
    a model::

        def loudness(audio):
            return {"rms": float(np.sqrt(np.mean(audio**2)))}

        loudness.sample_rate = 8000
    """

    def __init__(self, function: Callable[..., Mapping[str, Any]], options: Mapping[str, Any] | None = None) -> None:
        """`options` are handed to every call as keyword arguments."""
        self._function = function
        self._options = dict(options or {})
        self.name = getattr(function, "__name__", type(function).__name__)
        for attribute in ("sample_rate", "threads", "holds_gil"):
            if hasattr(function, attribute):
                setattr(self, attribute, getattr(function, attribute))

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        return self._function(audio, **self._options)
