"""Models for replicas on a cluster: the first sample of the audio says what they do."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxgate import Batch, Model

COUNT, CRASH, CRASH_ONCE, HANG, WAIT, CHANGE, MEMORY = range(7)


class Actor(Model):
    """Takes batches, and keeps states. Files in `directory` are seen by the test."""

    sample_rate = 8_000

    def __init__(self, directory: str, version: int = 1, rate: int = 8_000) -> None:
        self.directory = Path(directory)
        self.version = version
        self.sample_rate = rate

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        what = round(float(audio[0])) if len(audio) else COUNT
        if what == CRASH or (what == CRASH_ONCE and self._is_first("crashed")):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == HANG and self._is_first("hung"):
            threading.Event().wait()
        if what == WAIT:
            (self.directory / f"waits-{os.getpid()}").touch()
            while not (self.directory / "go").exists():
                time.sleep(0.01)
        if what == MEMORY:
            limits = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, limits[1]))
            try:
                np.ones(1 << 36, np.uint8)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limits)
        if what == CHANGE:
            audio[:] = 9
        return {"count": len(audio), "pid": os.getpid(), "version": self.version}

    def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        return [{**self.infer(row), "of": len(batch)} for row in batch]

    def open(self) -> list[int]:
        return [0]

    def step(self, audio: np.ndarray, state: list[int]) -> Mapping[str, Any]:
        self.infer(audio)
        state[0] += len(audio)
        return {"total": state[0], "pid": os.getpid()}

    def finish(self, state: list[int]) -> Mapping[str, Any]:
        return {"total": state[0], "pid": os.getpid(), "finished": True}

    def _is_first(self, name: str) -> bool:
        try:
            (self.directory / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Plain(Model):
    """For speech: says how much there was, and which version of the model heard it."""

    def __init__(self, directory: str, version: int = 1) -> None:
        self.version = version

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        return {"n": len(audio), "version": self.version}


class Yielding(Model):
    """Three interim results, then the answer; it notes when nobody needs it any more."""

    sample_rate = 8_000

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    def infer(self, audio: np.ndarray) -> Iterator[Mapping[str, Any]]:
        try:
            for n in range(3):
                yield {"n": n}
            while audio[0] == WAIT:
                time.sleep(0.01)
                yield {"n": 3}
            yield {"n": "done"}
        finally:
            (self.directory / "closed").touch()
