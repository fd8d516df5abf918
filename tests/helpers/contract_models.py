"""Models that tell what they were asked for, here and in worker processes."""

from __future__ import annotations

import threading
from typing import Any, Literal

import msgspec
import numpy as np

from voxgate import Batch, Model, Request


class Polyglot(Model):
    """Answers with its request, and with the languages of its batch."""

    class Options(msgspec.Struct):
        language: Literal["de", "en"] = "de"
        hotwords: list[str] = []

        def __post_init__(self) -> None:
            if self.hotwords == ["only", "here"]:
                raise ValueError("the model knows no such hotwords")

    threads = 1

    def infer(self, audio: np.ndarray, request: Request) -> dict[str, Any]:
        assert isinstance(request.options, Polyglot.Options)
        return {"asked": msgspec.structs.asdict(request), "count": len(audio), "together": [request.options.language]}

    def infer_batch(self, batch: Batch) -> list[dict[str, Any]]:
        together = [request.options.language for request in batch.requests]
        return [
            {**self.infer(audio, request), "together": together}
            for audio, request in zip(batch, batch.requests, strict=True)
        ]


class Slow(Polyglot):
    """Its first call lasts until `release` is set, so that others gather behind it."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()

    def infer(self, audio: np.ndarray, request: Request) -> dict[str, Any]:
        if request.session_id != "trial" and not self.entered.is_set():
            self.entered.set()
            assert self.release.wait(60)
        return super().infer(audio, request)


class Mixing(Slow):
    mixes_options = True


class Counting(Model):
    """A stateful one: what it was opened with."""

    Options = Polyglot.Options

    def open(self, request: Request) -> Request:
        return request

    def step(self, audio: np.ndarray, state: Request) -> dict[str, Any]:
        return {"language": state.options.language, "of": state.channel, "who": state.identity}


class Wrong(Model):
    def infer(self, audio: np.ndarray) -> Any:
        return {"channel": 3}
