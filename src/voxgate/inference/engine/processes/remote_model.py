"""The server's description of a model that lives in worker processes."""

from __future__ import annotations

from typing import Any

from voxgate.inference.engine.processes.messages import Loaded
from voxgate.models.base import Model, Samples
from voxgate.models.options_schema import struct_of

__all__ = ["RemoteModel"]


class RemoteModel(Model):
    """The name and the properties of a model, without its weights. It cannot run."""

    def __init__(self, loaded: Loaded) -> None:
        self.name = loaded.name
        self.sample_rate = loaded.sample_rate
        self.threads = loaded.threads
        self.holds_gil = loaded.holds_gil
        self.mixes_options = loaded.mixes_options
        self.gives_text = loaded.gives_text
        self.options_schema = loaded.options_schema
        self.Options = None if loaded.options_schema is None else struct_of(loaded.options_schema)
        self._batches = loaded.batches
        self._stateful = loaded.stateful
        self._stateless = loaded.stateless

    def infer(self, audio: Samples) -> Any:
        raise AssertionError("the model runs in worker processes, not here")

    @property
    def batches(self) -> bool:
        return self._batches

    @property
    def stateful(self) -> bool:
        return self._stateful

    @property
    def stateless(self) -> bool:
        return self._stateless
