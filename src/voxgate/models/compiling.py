"""Numba for the models of ours: compiled at import, and kept on disk.

The compiled code is cached in the first of these places that can be written: ``$NUMBA_CACHE_DIR``, ``__pycache__``
beside the model's file, the user's cache directory. Where there is none, or the cache cannot be read or written (a full
disk, a file that was cut short), it is compiled anew at each start, which takes a second or two.
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
    """``numba.njit`` for one signature, at once, without the GIL, cached on disk where there is a place for it.

    Numba itself raises when the cache fails, whatever the reason; then the function is compiled without it.
    """

    def compile_now(function: F) -> F:
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(function)
        except Exception as error:
            compiled = numba.njit(signature, nogil=True)(function)  # raises too, if the function is at fault
            _warn(f"{type(error).__name__}: {error}")
        return cast(F, compiled)

    return compile_now


_warned = threading.Event()


def _warn(reason: str) -> None:
    """Once in each process, for every function of every model has the same trouble."""
    if not _warned.is_set():
        _warned.set()
        logger.warning(
            "cannot keep compiled code (%s): compiling at each start; NUMBA_CACHE_DIR may name another place", reason
        )
