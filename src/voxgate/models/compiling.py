"""Numba for the bundled models: functions are compiled at import, and the code is cached on disk.

The cache is the first writable directory of: ``$NUMBA_CACHE_DIR``, ``__pycache__`` beside the model's file, the user's
cache directory. Without one, and when the cache cannot be read or written (a full disk, a truncated file), functions
are compiled at each start, which takes a second or two.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

logger = logging.getLogger("voxgate.models.compiling")

F = TypeVar("F", bound=Callable[..., Any])


def compiled(signature: str) -> Callable[[F], F]:
    """``numba.njit`` for one signature, compiled now, without the GIL, cached on disk if possible.

    Numba raises when the cache fails; then the function is compiled without it.
    """

    def compile_now(function: F) -> F:
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(function)
        except Exception as error:
            compiled = numba.njit(signature, nogil=True)(function)  # raises too if the function has the fault
            _warn(f"{type(error).__name__}: {error}")
        return cast(F, compiled)

    return compile_now


_warned = threading.Event()


def _warn(reason: str) -> None:
    """Once per process, because every function has the same problem."""
    if not _warned.is_set():
        _warned.set()
        logger.warning(
            "cannot keep compiled code (%s): compiling at each start; NUMBA_CACHE_DIR may name another place", reason
        )
