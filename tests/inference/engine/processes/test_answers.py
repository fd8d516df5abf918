"""The answer of a model in another process. test_worker has more."""

from __future__ import annotations

import msgspec
import numpy as np

from voxgate import Batch, Model
from voxgate.inference.engine.base import State
from voxgate.inference.engine.invoker import Invoker
from voxgate.inference.engine.processes.answers import answer_batch, answer_step, describe
from voxgate.inference.engine.processes.outcomes import RefusedCall, SentResult
from voxgate.models.request import Request
from voxgate.models.session_options import SessionOptions


class Options(msgspec.Struct):
    gain: int = 1

    def __post_init__(self) -> None:
        if self.gain == 7:  # What a schema cannot say.
            raise ValueError("not seven")


class Gaining(Model):
    sample_rate = 8_000
    gives_text = True
    Options = Options

    def infer(self, audio: np.ndarray, request: Request) -> str:
        return str(len(audio) * request.options.gain)

    def infer_batch(self, batch: Batch) -> list[str]:
        return [self.infer(audio, request) for audio, request in zip(batch, batch.requests, strict=True)]

    def open(self) -> list[int]:
        return []

    def step(self, audio: np.ndarray, state: list[int]) -> str:
        state.append(len(audio))
        return str(state)


MODEL = Gaining()
OPTIONS = SessionOptions(MODEL)


def batch(*gains: int) -> tuple[Batch, list[Request]]:
    return Batch.gather([np.zeros(2, np.float32)] * len(gains)), [Request(options={"gain": gain}) for gain in gains]


def test_the_facts_of_a_model() -> None:
    facts = describe(MODEL, OPTIONS)
    assert (facts.name, facts.sample_rate, facts.batches, facts.stateful, facts.stateless) == (
        *("Gaining", 8_000, True, True, True),
    )
    assert facts.gives_text is True
    assert facts.options_schema is not None


def test_options_that_the_class_refuses_are_an_error_of_their_item_alone() -> None:
    invoker = Invoker(MODEL)
    answer = answer_batch(invoker, *batch(1, 7, 3), OPTIONS)
    assert [type(outcome) for outcome in answer.outcomes] == [SentResult, RefusedCall, SentResult]
    assert answer.outcomes[2] == answer_batch(invoker, *batch(3), OPTIONS).outcomes[0]
    assert isinstance(answer_batch(invoker, *batch(7), OPTIONS).outcomes[0], RefusedCall)


def test_a_state_is_opened_once() -> None:
    invoker, state = Invoker(MODEL), State()
    audio, requests = np.zeros(2, np.float32), batch(7)[1]
    refused = answer_step(invoker, "step", audio, state, requests[0], OPTIONS)
    assert isinstance(refused.outcomes[0], RefusedCall)
    assert not refused.opened
    for expected in (b'"text":"[2]"', b'"text":"[2, 2]"'):
        answer = answer_step(invoker, "step", audio, state, batch(1)[1][0], OPTIONS)
        assert isinstance(answer.outcomes[0], SentResult)
        assert (answer.outcomes[0].json, answer.opened) == (expected, True)
