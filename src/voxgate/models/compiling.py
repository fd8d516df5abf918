"""Numba for the models of ours: compiled at import, and kept on disk.

The compiled code is cached in the first of these places that can be written: ``$NUMBA_CACHE_DIR``, ``__pycache__``
beside the model's file, the user's cache directory. Where there is none, it is compiled anew at each start, which takes
a second or two.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

logger = logging.getLogger("voxgate.models.compiling")

F = TypeVar("F", bound=Callable[..., Any])


def compiled(signature: str) -> Callable[[F], F]:
    """``numba.njit`` for one signature, at once, without the GIL, cached on disk where there is a place for it.

    Numba itself raises when it finds none: in a container with a read-only file system, say.
    """

    def compile_now(function: F) -> F:
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            _say_no_place()
            compiled = numba.njit(signature, nogil=True)(function)
        return cast(F, compiled)

    return compile_now


@functools.cache
def _say_no_place() -> None:
    logger.warning("no place to keep compiled code: compiling at each start; NUMBA_CACHE_DIR may name one")
