"""Calls a model and turns whatever it does into an outcome."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import AsyncGeneratorType, GeneratorType
from typing import Any, NamedTuple, TypeVar

from voxgate.errors import InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.base import CallMethod, JobOutcome, State
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.interims import NO_INTERIMS, Interims
from voxgate.models.adapter import ModelAdapter
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.loader import explained
from voxgate.models.request import Request
from voxgate.models.result import BadResult, check_batch, output_of
from voxgate.protocol.output import Output

__all__ = ["CANCELLED", "Invocation", "Invoker"]

T = TypeVar("T")

logger = logging.getLogger("voxgate.inference.engine")

CANCELLED = "Cancelled"
"""The text of the error of a call that nobody needed any more."""
_WITHOUT_TEXT = "Unexpected inference failure"


class Invocation(NamedTuple):
    """The outcomes of one batch, in the order of its items, and whether they came from a second try, item by item."""

    outcomes: list[JobOutcome]
    retried: bool = False


class _NotNeeded(Exception):
    """Nobody needs the running call any more."""


class Invoker:
    """Calls one model. It has no threads, no queue and no clock; any number of threads may call it at once.

    No exception of the model leaves it, SystemExit, KeyboardInterrupt and CancelledError included: an InferenceError
    becomes a new one with the same text; any other exception is logged with its stack (repetitions are counted, not
    logged) and becomes an InternalError that tells the client nothing. A result is validated, encoded and detached on
    the thread that called the model, before the model goes on.

    `invoke` and `call` are for models of plain functions; `invoke_async` and `call_async` also for asynchronous ones,
    on the thread of their event loop. `interims` is where the yields of a generator go; when nobody needs the call any
    more, the generator is closed at its next yield, and the outcome is an InferenceError.
    """

    def __init__(
        self, model: Model, failures: FailureLog | None = None, on_bad_result: Callable[[str], None] | None = None
    ) -> None:
        """`on_bad_result`: called with the reason for each answer that cannot be used or sent, instead of logging it.

        Raises ModelLoadError for a model whose methods cannot be called as the contract says.
        """
        self._model = model
        self._adapter = ModelAdapter(model)
        self._waits = model.asynchronous
        self._failures = failures or FailureLog(logger)
        self._on_bad_result = on_bad_result

    def warm_up(self) -> None:
        """Calls `Model.warm_up`. Raises ModelLoadError when that fails."""
        try:
            self._model.warm_up()
        except ModelLoadError:  # a bundled model says it all
            raise
        except (Exception, SystemExit) as error:
            raise ModelLoadError(f"warm-up of model {self._model.name!r} failed: {explained(error)}") from error

    def close(self) -> None:
        """Calls `Model.close`; logs its failure."""
        try:
            self._model.close()
        except (Exception, SystemExit) as error:
            logger.error("closing model %r failed", self._model.name, exc_info=error)

    def invoke(
        self,
        batch: Batch,
        original: Callable[[int], Samples | None] | None = None,
        interims: Interims = NO_INTERIMS,
    ) -> Invocation:
        """One item goes to `infer`; several go to `infer_batch`, and when that fails as a whole, to `infer` one by one.

        Before each item of such a second try, `original(index)` returns the audio as it was before the model could
        change it, or None for an item that is no longer needed and does not run again. Without `original`, the second
        try uses the rows of the batch as the failed call left them.
        """
        return _finished(self.invoke_async(batch, original, interims))

    def call(self, method: CallMethod, audio: Samples, state: State, request: Request) -> JobOutcome:
        """Calls `step` or `finish` (which takes no audio) of a stateful model, and `open` first for a new state. None:
        the model returned no result.
        """
        return _finished(self.call_async(method, audio, state, request))

    async def invoke_async(
        self,
        batch: Batch,
        original: Callable[[int], Samples | None] | None = None,
        interims: Interims = NO_INTERIMS,
    ) -> Invocation:
        """As `invoke`."""
        if len(batch) == 1:
            return Invocation([await self._infer(batch[0], batch.requests[0], interims)])
        try:
            answers = await self._value(self._model.infer_batch(batch))
            check_batch(answers, len(batch))
        except BaseException as error:  # The worker must outlive its model, whatever that raises.
            if _is_our_cancellation(error, interims):
                return Invocation([InferenceError(CANCELLED) for _ in range(len(batch))])
            if not isinstance(error, InferenceError):
                what = f"a batch of {len(batch)} failed in model {self._model.name!r}: trying item by item"
                self._report(what, error)
            del error  # Its traceback refers to the frame that waits below.
        else:
            return Invocation([self._checked(answer) for answer in answers])
        outcomes: list[JobOutcome] = []
        for index, request in enumerate(batch.requests):
            audio = batch[index] if original is None else original(index)
            if audio is None or not interims.is_needed:
                outcomes.append(InferenceError(CANCELLED))
            else:
                outcomes.append(await self._infer(audio, request, NO_INTERIMS))
        return Invocation(outcomes, True)

    async def call_async(
        self,
        method: CallMethod,
        audio: Samples,
        state: State,
        request: Request,
        interims: Interims = NO_INTERIMS,
    ) -> JobOutcome:
        """As `call`; `interims` says whether the call is still needed."""
        if state.lost:
            return InferenceError("An earlier call of this stream did not return: its state is lost")
        model = self._model
        try:
            if not state.opened:
                state.value = await self._value(self._adapter.open(request))
                state.opened = True
            answer = model.step(audio, state.value) if method == "step" else model.finish(state.value)
            return output_of(await self._value(answer))
        except BaseException as error:
            return self._failure(error, interims)

    async def _infer(self, audio: Samples, request: Request, interims: Interims) -> JobOutcome:
        try:
            answer: Any = self._adapter.infer(audio, request)
            if isinstance(answer, GeneratorType):
                return self._last_of(answer, interims)
            if isinstance(answer, AsyncGeneratorType):
                return await self._last_of_async(answer, interims)
            return output_of(await self._value(answer) if self._waits else answer)
        except BaseException as error:
            return self._failure(error, interims)

    def _last_of(self, answers: Generator[Any, Any, Any], interims: Interims) -> Output | None:
        last: Output | None = None
        with contextlib.closing(answers):
            while True:
                try:
                    answer = next(answers)
                except StopIteration as end:
                    return last if end.value is None else output_of(end.value)
                last = _passed_on(answer, interims)

    async def _last_of_async(self, answers: AsyncGenerator[Any, Any], interims: Interims) -> Output | None:
        last: Output | None = None
        async with contextlib.aclosing(answers):
            async for answer in answers:
                last = _passed_on(answer, interims)
        return last

    async def _value(self, answer: Any) -> Any:
        """What a method returned. Some methods of an asynchronous model may be plain functions."""
        return await answer if self._waits and inspect.isawaitable(answer) else answer

    def _checked(self, answer: object) -> JobOutcome:
        try:
            return output_of(answer)
        except BaseException as error:
            self._report(f"model {self._model.name!r} failed", error)
            return InternalError()

    def _failure(self, error: BaseException, interims: Interims) -> InferenceError | InternalError:
        if isinstance(error, _NotNeeded) or _is_our_cancellation(error, interims):
            return InferenceError(CANCELLED)
        if isinstance(error, InferenceError):
            return self._refusal(error)
        self._report(f"model {self._model.name!r} failed", error)
        return InternalError()

    def _refusal(self, error: InferenceError) -> InferenceError:
        """A new error with the text of `error` and nothing else of it: its class is the model's own, and its traceback
        keeps the frames of the call, with the audio, alive as long as the error.
        """
        try:
            return InferenceError(str(error).encode("utf-8", "replace").decode())
        except BaseException as failure:
            self._report(f"model {self._model.name!r} raised {type(error).__name__}, whose text failed", failure)
            return InferenceError(_WITHOUT_TEXT)

    def _report(self, what: str, error: BaseException) -> None:
        if isinstance(error, BadResult):  # Raised by our own check: its stack says nothing about the model.
            if self._on_bad_result is not None:
                self._on_bad_result(str(error))
            else:
                self._failures.write(f"{what}: {error}")
        else:
            self._failures.write(what, error)


def _passed_on(answer: object, interims: Interims) -> Output | None:
    """A value that a generator yielded: detached before the generator goes on. Raises _NotNeeded."""
    if not interims.is_needed:
        raise _NotNeeded
    output = output_of(answer)
    if output is not None and interims.is_wanted:
        interims.send(output)
    return output


def _is_our_cancellation(error: BaseException, interims: Interims) -> bool:
    """Whether the engine cancelled the call; a model may also raise CancelledError by itself."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    if not interims.is_needed:
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:  # No event loop runs on this thread.
        return False
    return task is not None and task.cancelling() > 0


def _finished(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call that does not wait, because the model is one of plain functions."""
    try:
        call.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    call.close()
    raise AssertionError("an asynchronous model needs its event loop")
