"""A model of coroutine functions, for callers that block."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeAlias

from voxgate.models.adapter import ModelAdapter
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.request import Request

__all__ = ["BlockingModel", "RunCoroutine"]

RunCoroutine: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine on an event loop of another thread, and returns its result or raises its exception."""


class BlockingModel(Model):
    """Calls an asynchronous model on its event loop, and waits for the answers. For warm-up, trial calls, `close` and
    `voxgate models check`; any thread but that of the loop.
    """

    def __init__(self, model: Model, run: RunCoroutine) -> None:
        """Plain methods of `model` run on the caller's thread. `run` belongs to the loop on which the model serves."""
        self._model = model
        self._adapter = ModelAdapter(model)
        self._run = run
        for attribute in ("name", "sample_rate", "threads", "holds_gil", "gives_text", "Options", "mixes_options"):
            setattr(self, attribute, getattr(model, attribute))

    @property
    def batches(self) -> bool:
        return self._model.batches

    @property
    def stateful(self) -> bool:
        return self._model.stateful

    @property
    def stateless(self) -> bool:
        return self._model.stateless

    def warm_up(self) -> None:
        self._value(self._model.warm_up())

    def close(self) -> None:
        self._value(self._model.close())

    def infer(self, audio: Samples, request: Request) -> Any:
        answer = self._adapter.infer(audio, request)
        return self._values(answer) if inspect.isasyncgen(answer) else self._value(answer)

    def infer_batch(self, batch: Batch) -> Any:
        return self._value(self._model.infer_batch(batch))

    def open(self, request: Request) -> Any:
        return self._value(self._adapter.open(request))

    def step(self, audio: Samples, state: Any) -> Any:
        return self._value(self._model.step(audio, state))

    def finish(self, state: Any) -> Any:
        return self._value(self._model.finish(state))

    def _value(self, answer: Any) -> Any:
        return self._run(_awaited(answer)) if inspect.isawaitable(answer) else answer

    def _values(self, answers: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._run(_awaited(anext(answers)))
                except StopAsyncIteration:
                    return
        finally:
            self._run(_closed(answers))


async def _awaited(answer: Any) -> Any:
    return await answer


async def _closed(answers: Any) -> None:
    await answers.aclose()
    await asyncio.sleep(0)
