"""The client of Voxgate servers: streams audio, and yields the events of the server while people still speak.

The whole library of ``voxgate.client``, without compiled code. Sound files and arrays need NumPy and soundfile (the
extra ``files``); raw PCM and files that are sent as they are need nothing more.

Where Voxgate of the same version is installed too, the modules of this package are those of Voxgate, so that a class
has one home: ``voxgate_client.AudioFormat is voxgate.client.AudioFormat``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

__version__ = "@VERSION@"

_OWN = f"{__name__}.cli"
"""The one module that Voxgate has no equal of: the command."""


class _Whole:
    """Finds the modules of this package in Voxgate. The docs of `voxgate_client` say when."""

    def find_spec(self, fullname: str, path: Any = None, target: object = None) -> ModuleSpec | None:
        is_ours = fullname.startswith(f"{__name__}.") and fullname != _OWN
        if not is_ours or PathFinder.find_spec(fullname, path) is None:
            return None
        return ModuleSpec(fullname, self)  # type: ignore[arg-type] -- importlib.abc is slow to import

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        # The import system hands out what stands here after this call.
        sys.modules[module.__name__] = import_module(module.__name__.replace(__name__, "voxgate", 1))


def _is_beside_voxgate() -> bool:
    try:
        return bool(import_module("voxgate").__version__ == __version__)  # loads nothing else of it
    except (ImportError, AttributeError):
        return False


if _is_beside_voxgate():
    sys.meta_path.insert(0, _Whole())  # type: ignore[arg-type]

from voxgate.client import *  # noqa: F403 -- the version comes first: modules of the library read it
from voxgate.client import __all__ as _names

__all__ = [*_names, "__version__"]
