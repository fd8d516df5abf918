"""A plain function as a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from voxgate.models.base import Model, Samples
from voxgate.models.kinds import is_async

__all__ = ["FunctionModel"]


class FunctionModel(Model):
    """A :class:`voxgate.Model` that calls ``function(audio) -> mapping``: audio, result, errors and threads as in
    :meth:`voxgate.Model.infer`.

    The function may have the attributes ``sample_rate``, ``threads`` and ``holds_gil``, with their meaning on a
    model::

        def loudness(audio):
            return {"rms": float(np.sqrt(np.mean(audio**2)))}

        loudness.sample_rate = 8000
    """

    def __init__(self, function: Callable[..., Mapping[str, Any]], options: Mapping[str, Any] | None = None) -> None:
        """`options`: keyword arguments of every call."""
        self._function = function
        self._options = dict(options or {})
        self.name = getattr(function, "__name__", type(function).__name__)
        for attribute in ("sample_rate", "threads", "holds_gil"):
            if hasattr(function, attribute):
                setattr(self, attribute, getattr(function, attribute))

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        return self._function(audio, **self._options)

    @property
    def asynchronous(self) -> bool:
        return is_async(self._function)
