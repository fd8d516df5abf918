"""What kind of function a method of a model is."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["is_async", "yields"]


def is_async(function: Any) -> bool:
    """Whether it is an ``async def``, an async generator, or an object that is called by one."""
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in _called(function))


def yields(function: Any) -> bool:
    """Whether it is a generator or an async generator, or an object that is called by one."""
    return any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in _called(function))


def _called(function: Any) -> tuple[Any, ...]:
    if inspect.isroutine(function) or inspect.isclass(function):
        return (function,)
    return (function, type(function).__call__) if callable(function) else ()
