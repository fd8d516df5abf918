"""Optional packages of models: found without an import, and with a clear error when they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import NamedTuple

from voxgate.errors import ModelLoadError

__all__ = ["Needs"]


class Needs(NamedTuple):
    """The optional package of a model, in the attribute ``needs`` of its class."""

    model: str
    """The name of the model, for errors."""
    module: str
    """The module to import."""
    extra: str
    """The extra of Voxgate that installs it."""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install 'voxgate[{self.extra}]'"

    @property
    def installed(self) -> bool:
        """Whether the module can be found. Nothing is imported."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except (ImportError, ValueError):  # ValueError: the entry in sys.modules has no spec
            return False

    def check(self) -> None:
        """Raises :class:`ModelLoadError` with the install line when the module cannot be found; imports nothing."""
        if not self.installed:
            raise ModelLoadError(self._missing())

    def load(self) -> ModuleType:
        """Imports the module. Raises :class:`ModelLoadError`: with the install line when it is missing, with the
        reason when its import fails.
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
