"""Calls a model and turns whatever it does into an outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from voxgate.errors import InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.base import CallMethod, JobOutcome, State
from voxgate.inference.engine.failures import FailureLog
from voxgate.models.adapter import ModelAdapter
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.loader import explained
from voxgate.models.request import Request
from voxgate.models.result import BadResult, check_batch, output_of

__all__ = ["Invocation", "Invoker"]

logger = logging.getLogger("voxgate.inference.engine")

_WITHOUT_TEXT = "Unexpected inference failure"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The outcomes of one batch, in the order of its items, and whether they came from a second try, item by item."""

    outcomes: list[JobOutcome]
    retried: bool = False


class Invoker:
    """Calls one model. It has no threads, no queue and no clock; any number of threads may call it at once.

    No exception of the model leaves `invoke` and `call`, SystemExit and KeyboardInterrupt included: an InferenceError
    becomes a new one with the same text; any other exception is logged with its stack (repetitions are counted, not
    logged) and becomes an InternalError that tells the client nothing. A result is validated, encoded and detached
    before `invoke` or `call` returns, on the thread that called the model.
    """

    def __init__(
        self, model: Model, failures: FailureLog | None = None, on_bad_result: Callable[[str], None] | None = None
    ) -> None:
        """`on_bad_result`: called with the reason for each answer that cannot be used or sent, instead of logging it.

        Raises ModelLoadError for a model whose methods cannot be called as the contract says.
        """
        self._model = model
        self._adapter = ModelAdapter(model)
        self._failures = failures or FailureLog(logger)
        self._on_bad_result = on_bad_result

    def warm_up(self) -> None:
        """Calls `Model.warm_up`. Raises ModelLoadError when that fails."""
        try:
            self._model.warm_up()
        except (Exception, SystemExit) as error:
            raise ModelLoadError(f"warm-up of model {self._model.name!r} failed: {explained(error)}") from error

    def close(self) -> None:
        """Calls `Model.close`; logs its failure."""
        try:
            self._model.close()
        except (Exception, SystemExit) as error:
            logger.error("closing model %r failed", self._model.name, exc_info=error)

    def invoke(self, batch: Batch, original: Callable[[int], Samples | None] | None = None) -> Invocation:
        """One item goes to `infer`; several go to `infer_batch`, and when that fails as a whole, to `infer` one by one.

        Before each item of such a second try, `original(index)` returns the audio as it was before the model could
        change it, or None for an item that is no longer needed and does not run again. Without `original`, the second
        try uses the rows of the batch as the failed call left them.
        """
        if len(batch) == 1:
            return Invocation([self._infer(batch[0], batch.requests[0])])
        try:
            answers = self._model.infer_batch(batch)
            check_batch(answers, len(batch))
        except BaseException as error:  # The worker must outlive its model, whatever that raises.
            if not isinstance(error, InferenceError):
                what = f"a batch of {len(batch)} failed in model {self._model.name!r}: trying item by item"
                self._report(what, error)
            audios = map(original or batch.__getitem__, range(len(batch)))
            return Invocation(
                [
                    InferenceError("Cancelled") if audio is None else self._infer(audio, request)
                    for audio, request in zip(audios, batch.requests, strict=True)
                ],
                True,
            )
        return Invocation([self._checked(answer) for answer in answers])

    def call(self, method: CallMethod, audio: Samples, state: State, request: Request) -> JobOutcome:
        """Calls `step` or `finish` (which takes no audio) of a stateful model, and `open` first for a new state. None:
        the model returned no result.
        """
        if state.lost:
            return InferenceError("An earlier call of this stream did not return: its state is lost")
        try:
            if not state.opened:
                state.value = self._adapter.open(request)
                state.opened = True
            answer = self._model.step(audio, state.value) if method == "step" else self._model.finish(state.value)
            return output_of(answer)
        except BaseException as error:
            return self._failure(error)

    def _infer(self, audio: Samples, request: Request) -> JobOutcome:
        try:
            return output_of(self._adapter.infer(audio, request))
        except BaseException as error:
            return self._failure(error)

    def _checked(self, answer: object) -> JobOutcome:
        try:
            return output_of(answer)
        except BaseException as error:
            self._report(f"model {self._model.name!r} failed", error)
            return InternalError()

    def _failure(self, error: BaseException) -> InferenceError | InternalError:
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
