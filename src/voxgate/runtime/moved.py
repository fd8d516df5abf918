"""Public modules that have moved: their old names still work, with a DeprecationWarning.

docs/versions.md states how long an old name is kept.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["MOVED", "install"]

MOVED: Final = {
    "voxgate.messages": "voxgate.protocol",
    "voxgate.speech": "voxgate.recordings",
    "voxgate.tracing": "voxgate.observe.tracing",
}


# Without the base classes of importlib.abc: every `import voxgate` imports this module, and importlib.abc is slow.
class _Alias:
    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        new = MOVED[old]
        warnings.warn(f"{old} has moved: import {new}", DeprecationWarning, stacklevel=2)
        # The import system hands out what stands here after this call.
        sys.modules[old] = importlib.import_module(new)


class _Finder:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, cast("Loader", _Alias())) if fullname in MOVED else None


def install() -> None:
    """Make the old names importable. Calling it again has no effect."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
