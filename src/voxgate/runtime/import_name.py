"""Objects that a setting names as ``pkg.module:attribute``: models, detectors, the access hook."""

from __future__ import annotations

import difflib
import logging
import os
import sys
import sysconfig
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from voxgate.errors import text_of

__all__ = ["ImportNameError", "explained", "failed_at", "import_name"]

logger = logging.getLogger("voxgate.runtime")

_OURS: Final = str(Path(__file__).parents[1]) + os.sep
_INSTALLED: Final = tuple(
    path + os.sep
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path is not None
)


class ImportNameError(Exception):
    """A name leads to no object. The text says why; the cause is the exception of the module, if it raised one."""


def import_name(name: str, search_here: bool = True) -> Any:
    """The object behind ``pkg.module:attribute``; dots in the attribute reach into classes.

    Imports the module if necessary. With `search_here`, the current directory becomes the first on the import path,
    unless the path contains it already. Raises ImportNameError. Blocking; any thread.
    """
    module_name, _, path = name.partition(":")
    if not path or not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise ImportNameError(
            f"expected 'pkg.module:attribute', names joined by dots on both sides of one colon{_file_hint(module_name)}"
        )
    here = os.getcwd()
    if search_here and here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    found: Any = _import(module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [
                name
                for name in dir(found)
                if not name.startswith("_") and not isinstance(getattr(found, name, None), ModuleType)
            ]
            close = difflib.get_close_matches(part, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            where = getattr(found, "__name__", type(found).__name__)
            raise ImportNameError(f"{where!r} has no attribute {part!r}{hint}") from None
    return found


def _file_hint(module_name: str) -> str:
    if not module_name.endswith(".py"):
        return ""
    module = os.path.normpath(module_name[: -len(".py")]).replace(os.sep, ".").lstrip(".")
    return f"; for a file write its module, {module!r}"


def _import(module_name: str) -> Any:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ImportNameError(
                f"no module named {error.name!r}, neither in the current directory ({os.getcwd()}) nor among the"
                f" installed packages{_file_hint(module_name)}"
            ) from None
        logger.debug("importing %r failed", module_name, exc_info=error)
        raise ImportNameError(
            f"importing {module_name!r} failed: it needs the module {error.name!r}, which is not installed"
            f"{failed_at(error)}"
        ) from error
    except (Exception, SystemExit) as error:
        logger.debug("importing %r failed", module_name, exc_info=error)
        raise ImportNameError(f"importing {module_name!r} failed: {explained(error)}") from error


def explained(error: BaseException) -> str:
    """An exception of code that is not ours, and the place where it was raised, in one line."""
    return f"{type(error).__name__}: {text_of(error)}{failed_at(error)}"


def failed_at(error: BaseException) -> str:
    """The place where code that is not ours failed, to be appended to a text: `` (deep.py, line 4, in load)``.

    The innermost frame of the user's own code, else of a library that it uses; empty when only Voxgate's own code was
    involved, or when the exception names the place already (a SyntaxError).
    """
    if isinstance(error, SyntaxError):
        return ""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen "))
    ]
    if not frames:
        return ""
    own = [frame for frame in frames if not frame.filename.startswith(_INSTALLED)]
    frame = (own or frames)[-1]
    function = "" if frame.name == "<module>" else f", in {frame.name}"
    return f" ({os.path.basename(frame.filename)}, line {frame.lineno}{function})"
