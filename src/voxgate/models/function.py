"""A plain function as a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from voxgate.errors import ModelLoadError
from voxgate.models.adapter import takes_request
from voxgate.models.base import Model, Samples
from voxgate.models.kinds import is_async
from voxgate.models.request import Request

__all__ = ["FunctionModel"]

_NO_REQUEST = Request()


class FunctionModel(Model):
    """A :class:`voxgate.Model` that calls ``function(audio)``, or ``function(audio, request)`` if its second parameter
    is named ``request``: audio, result, errors and threads as in :meth:`voxgate.Model.infer`.

    The function may have the attributes ``sample_rate``, ``threads``, ``holds_gil``, ``gives_text`` and ``Options``,
    with their meaning on a model::

        def loudness(audio):
            return {"rms": float(np.sqrt(np.mean(audio**2)))}

        loudness.sample_rate = 8000
    """

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any] | None = None) -> None:
        """`options`: keyword arguments of every call.

        Raises ModelLoadError for a function with ``Options`` that takes no request.
        """
        self._function = partial(function, **options) if options else function
        self._takes_request = takes_request(function)
        self._is_async = is_async(function)
        self.name = getattr(function, "__name__", type(function).__name__)
        if getattr(function, "__annotations__", {}).get("return") in (str, "str"):
            self.gives_text = True
        for attribute in ("sample_rate", "threads", "holds_gil", "gives_text", "Options"):
            if hasattr(function, attribute):
                setattr(self, attribute, getattr(function, attribute))
        if self.Options is not None and not self._takes_request:
            raise ModelLoadError(
                f"model {self.name!r}: its Options reach no function: expected f(audio, request), which reads"
                " request.options"
            )

    def infer(self, audio: Samples, request: Request = _NO_REQUEST) -> Any:
        return self._function(audio, request) if self._takes_request else self._function(audio)

    @property
    def asynchronous(self) -> bool:
        return self._is_async
