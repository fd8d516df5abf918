"""An asynchronous model, for callers that block."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from voxgate.models.base import Batch, Model
from voxgate.models.blocking import BlockingModel
from voxgate.models.request import Request

AUDIO = np.zeros(3, np.float32)
REQUEST = Request(channel=1)


class Waits(Model):
    name = "waits"
    sample_rate = 8000

    def __init__(self) -> None:
        self.called: list[str] = []

    async def warm_up(self) -> None:
        self.called.append("warm_up")

    async def infer(self, audio: np.ndarray, request: Request) -> Any:
        return {"count": len(audio), "channel": request.channel}

    async def infer_batch(self, batch: Batch) -> Any:
        return [{"count": int(n)} for n in batch.lengths]

    def open(self) -> list[int]:
        return []

    async def step(self, audio: np.ndarray, state: list[int]) -> None:
        state.append(len(audio))

    async def finish(self, state: list[int]) -> Any:
        return {"steps": state}

    async def close(self) -> None:
        self.called.append("close")


class Yields(Model):
    ended: type[BaseException] | None = None

    async def infer(self, audio: np.ndarray) -> Any:
        try:
            for n in range(3):
                yield {"n": n}
        except BaseException as error:
            self.ended = type(error)
            raise


@pytest.fixture
def loop() -> Any:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def blocking(model: Model, loop: asyncio.AbstractEventLoop) -> BlockingModel:
    def run(coro: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(coro)

    return BlockingModel(model, run)


def test_every_method_waits_for_its_coroutine(loop: asyncio.AbstractEventLoop) -> None:
    model = Waits()
    plain = blocking(model, loop)
    assert (plain.name, plain.sample_rate, plain.batches, plain.stateful, plain.stateless) == (
        *("waits", 8000),
        *(True, True, True),
    )
    assert not plain.asynchronous
    plain.warm_up()
    assert plain.infer(AUDIO, REQUEST) == {"count": 3, "channel": 1}
    assert plain.infer_batch(Batch.gather([AUDIO, AUDIO])) == [{"count": 3}, {"count": 3}]
    state = plain.open(REQUEST)
    plain.step(AUDIO, state)
    assert plain.finish(state) == {"steps": [3]}
    plain.close()
    assert model.called == ["warm_up", "close"]


def test_an_async_generator_becomes_a_generator(loop: asyncio.AbstractEventLoop) -> None:
    model = Yields()
    plain = blocking(model, loop)
    assert list(plain.infer(AUDIO, REQUEST)) == [{"n": 0}, {"n": 1}, {"n": 2}]
    answers = plain.infer(AUDIO, REQUEST)
    next(answers)
    answers.close()
    assert model.ended is GeneratorExit
