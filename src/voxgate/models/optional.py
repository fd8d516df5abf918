"""Packages that only some models need: found without an import, imported with clear words when they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import NamedTuple

from voxgate.errors import ModelLoadError

__all__ = ["Needs"]


class Needs(NamedTuple):
    """What a model needs beyond Voxgate itself; a model's class carries it as ``needs``."""

    model: str
    """The name of the model, for messages."""
    module: str
    """The module that must be importable."""
    extra: str
    """The extra of Voxgate which installs it."""

    @property
    def install(self) -> str:
        """The command to type."""
        return f"pip install 'voxgate[{self.extra}]'"

    @property
    def installed(self) -> bool:
        """Whether the module can be found. Nothing is imported."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except (ImportError, ValueError):  # ValueError: somebody put a thing without a spec into sys.modules
            return False

    def check(self) -> None:
        """Raises :class:`ModelLoadError` with the install line when the module cannot be found; imports nothing."""
        if not self.installed:
            raise ModelLoadError(self._missing())

    def load(self) -> ModuleType:
        """Imports the module. Raises :class:`ModelLoadError`: with the install line when it is missing, with the
        reason when it is there but cannot be imported.
        """
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name == self.module:
                raise ModelLoadError(self._missing()) from None
            raise ModelLoadError(self._broken(error)) from error
        except (Exception, SystemExit) as error:
            raise ModelLoadError(self._broken(error)) from error

    def _missing(self) -> str:
        return f"model {self.model!r} needs the package {self.module!r}, which is not installed: {self.install}"

    def _broken(self, error: BaseException) -> str:
        return (
            f"model {self.model!r}: the package {self.module!r} is installed, but importing it failed:"
            f" {type(error).__name__}: {error}"
        )
