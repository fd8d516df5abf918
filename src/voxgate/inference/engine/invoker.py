"""Calling a model so that whatever it does becomes an outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from voxgate.errors import InferenceError, InternalError
from voxgate.inference.engine.base import Call, Outcome, State
from voxgate.inference.engine.failures import FailureLog
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.result import BadResult, check_batch, result_of

__all__ = ["Invocation", "Invoker"]

logger = logging.getLogger("voxgate.inference.engine")

_ON_THE_WIRE = "Internal server error"
_WITHOUT_TEXT = "Unexpected inference failure"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The outcomes of one batch, in the order of its items, and whether they came from a second try, item by item."""

    outcomes: list[Outcome]
    retried: bool = False


class Invoker:
    """Runs batches on a model. Knows no threads, no queue and no clock of its own; any number of threads may call it
    at once.

    Nothing that a model raises leaves it, SystemExit and its like included: the outcome of an InferenceError is another
    with its text, anything else is logged with its stack (repetitions held back) and becomes an InternalError that
    tells the client nothing.
    """

    def __init__(self, model: Model, failures: FailureLog | None = None) -> None:
        self._model = model
        self._failures = failures or FailureLog(logger)

    def invoke(self, batch: Batch, original: Callable[[int], Samples | None] | None = None) -> Invocation:
        """One item goes to `infer`; several go to `infer_batch`, and when that fails as a whole, to `infer` one by one.

        `original(index)` is asked before each item of such a second try for the audio as it was before the model could
        change it, and says None for an item that nobody waits for: it is not run again. Without it, the rows of the
        batch are taken as the failed call has left them.
        """
        if len(batch) == 1:
            return Invocation([self._one(batch[0])])
        try:
            answers = self._model.infer_batch(batch)
            check_batch(answers, len(batch))
        except BaseException as error:  # The worker must outlive its model, whatever that raises.
            if not isinstance(error, InferenceError):
                what = f"a batch of {len(batch)} failed in model {self._model.name!r}: trying item by item"
                self._report(what, error)
            audios = map(original or batch.__getitem__, range(len(batch)))
            return Invocation(
                [InferenceError("Cancelled") if audio is None else self._one(audio) for audio in audios], True
            )
        return Invocation([self._checked(answer) for answer in answers])

    def call(self, call: Call, audio: Samples, state: State) -> Outcome:
        """One call of a stateful model, `step` or `finish` (which gets no audio); opens the state if need be. None: the
        model had nothing to say.
        """
        if state.lost:
            return InferenceError("An earlier call of this stream did not return: its state is lost")
        try:
            if not state.opened:
                state.value = self._model.open()
                state.opened = True
            answer = self._model.step(audio, state.value) if call == "step" else self._model.finish(state.value)
            return None if answer is None else result_of(answer)
        except InferenceError as error:
            return self._refusal(error)
        except BaseException as error:
            self._report(f"model {self._model.name!r} failed", error)
            return InternalError(_ON_THE_WIRE)

    def _one(self, audio: Samples) -> Outcome:
        try:
            return result_of(self._model.infer(audio))
        except InferenceError as error:
            return self._refusal(error)
        except BaseException as error:
            self._report(f"model {self._model.name!r} failed", error)
            return InternalError(_ON_THE_WIRE)

    def _checked(self, answer: object) -> Outcome:
        try:
            return result_of(answer)
        except BaseException as error:
            self._report(f"model {self._model.name!r} failed", error)
            return InternalError(_ON_THE_WIRE)

    def _refusal(self, error: InferenceError) -> InferenceError:
        """The text of what a model raised, and nothing else of it: its class is the model's own, and its stack holds
        the frames of the call, with the audio and more, for as long as somebody holds the error.
        """
        try:
            return InferenceError(str(error).encode("utf-8", "replace").decode())
        except BaseException as failure:
            self._report(f"model {self._model.name!r} raised {type(error).__name__}, whose text failed", failure)
            return InferenceError(_WITHOUT_TEXT)

    def _report(self, what: str, error: BaseException) -> None:
        if isinstance(error, BadResult):  # Raised by us: its stack would tell nothing.
            self._failures.write(f"{what}: {error}")
        else:
            self._failures.write(what, error)
