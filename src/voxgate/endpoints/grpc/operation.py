"""Operations of grpc.aio that the server may give up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc.aio

from voxgate.runtime import tasks

__all__ = ["GONE", "run"]

GONE: Final = object()
"""In place of a result: the call is over."""


async def run(operation: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """The result of `operation`, or GONE. It goes on when the task that waits here is cancelled, until the call ends:
    otherwise the library would never free its memory, nor a message that still arrives
    (https://github.com/grpc/grpc/issues/43360).
    """
    return await asyncio.shield(tasks.spawn_task(_outcome(operation, arguments), "grpc-operation", "connection"))


async def _outcome(operation: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> Any:
    try:
        return await operation(*arguments)
    except grpc.aio.BaseError:
        return GONE
