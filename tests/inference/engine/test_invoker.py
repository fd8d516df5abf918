from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest

from voxgate.errors import InferenceError, InternalError, Overloaded
from voxgate.inference.engine.base import State
from voxgate.inference.engine.invoker import Invoker
from voxgate.models.base import Batch, Model
from voxgate.models.request import Request
from voxgate.protocol.output import Output
from voxgate.protocol.transcript import Transcript

INTERNAL = "Internal server error"


class Scripted(Model):
    """Answers what it is told; the first sample of the audio says which item it is."""

    name = "scripted"

    def __init__(self, infer: Callable[[int], Any], infer_batch: Callable[[list[int]], Any] | None = None) -> None:
        self._infer, self._infer_batch = infer, infer_batch
        self.calls: list[list[int]] = []

    def infer(self, audio: np.ndarray) -> Any:
        self.calls.append([int(audio[0])])
        return self._infer(int(audio[0]))

    def infer_batch(self, batch: Batch) -> Any:
        assert self._infer_batch is not None
        ids = [int(audio[0]) for audio in batch]
        self.calls.append(ids)
        return self._infer_batch(ids)


def audios(n: int) -> list[np.ndarray]:
    return [np.full(3 + i, i, np.float32) for i in range(n)]


def batch(n: int) -> Batch:
    return Batch.gather(audios(n))


def number(i: int) -> dict[str, int]:
    return {"i": i}


def raising(error: BaseException) -> Callable[[Any], Any]:
    def raise_it(_: Any) -> Any:
        raise error

    return raise_it


def test_one_item_goes_to_infer() -> None:
    model = Scripted(number, raising(AssertionError("not for one")))
    assert Invoker(model).invoke(batch(1)).outcomes == [{"i": 0}]
    assert model.calls == [[0]]


def test_several_items_go_to_infer_batch_in_one_call() -> None:
    model = Scripted(raising(AssertionError("not for several")), lambda ids: [number(i) for i in ids])
    invocation = Invoker(model).invoke(batch(3))
    assert invocation.outcomes == [{"i": 0}, {"i": 1}, {"i": 2}]
    assert not invocation.retried
    assert model.calls == [[0, 1, 2]]


class Mine(InferenceError):
    """A model's own, whose text is what it says, or raises."""

    def __init__(self, text: Any) -> None:
        super().__init__("never seen")
        self.text = text

    def __str__(self) -> str:
        if isinstance(self.text, BaseException):
            raise self.text
        return self.text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InferenceError("for the client"), "for the client"),
        (Mine("its own: ü"), "its own: ü"),
        (Mine("half a \ud83d"), "half a ?"),
    ],
)
def test_the_text_of_an_inference_error_is_kept_and_nothing_else_of_it(
    error: InferenceError, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (outcome,) = Invoker(Scripted(raising(error))).invoke(batch(1)).outcomes
    assert type(outcome) is InferenceError
    assert str(outcome) == text
    assert (outcome.__traceback__, outcome.__context__, outcome.__cause__) == (None, None, None)
    assert not caplog.records


@pytest.mark.parametrize("failure", [ZeroDivisionError("no words"), SystemExit(1)])
def test_an_inference_error_whose_text_fails_is_answered_and_logged(
    failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = Invoker(Scripted(raising(Mine(failure)), raising(Mine(failure)))).invoke(batch(2)).outcomes
    assert [(type(outcome), str(outcome)) for outcome in outcomes] == [
        (InferenceError, "Unexpected inference failure")
    ] * 2
    assert "model 'scripted' raised Mine, whose text failed" in caplog.text


class Odd(BaseException):
    """What a worker would not survive, if it only caught Exception."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        Overloaded("secret"),
        SystemExit(1),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(),
        asyncio.CancelledError(),
        MemoryError(),
        RecursionError(),
        Odd(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_else_is_internal_and_logged_with_its_stack(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    (outcome,) = Invoker(Scripted(raising(error))).invoke(batch(1)).outcomes
    assert type(outcome) is InternalError
    assert str(outcome) == INTERNAL
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (
        "voxgate.inference.engine",
        logging.ERROR,
        "model 'scripted' failed",
    )
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize(
    ("answer", "type_name"),
    [
        (["secret"], "list"),
        (b"secret", "bytes"),
        (3, "int"),
        (np.zeros(3), "ndarray"),
        ([("secret", 1)], "list"),
    ],
)
def test_a_result_that_is_no_mapping_is_internal_and_the_log_names_its_type(
    answer: object, type_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (outcome,) = Invoker(Scripted(lambda i: answer)).invoke(batch(1)).outcomes
    assert type(outcome) is InternalError
    assert str(outcome) == INTERNAL
    (record,) = caplog.records
    assert record.getMessage() == (
        "model 'scripted' failed: expected a mapping with string keys, a msgspec Struct, a dataclass, a str or None,"
        f" not an object of type {type_name!r}"
    )
    assert "secret" not in caplog.text


def test_a_key_that_is_no_string_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    (outcome,) = Invoker(Scripted(lambda i: {"a": 1, 2: "secret"})).invoke(batch(1)).outcomes
    assert type(outcome) is InternalError
    assert "a key is of type 'int'" in caplog.text
    assert "secret" not in caplog.text


def test_a_mapping_that_fails_when_it_is_read_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(collections.UserDict[str, int]):
        def __iter__(self) -> Any:
            raise ZeroDivisionError

    model = Scripted(lambda i: Broken(), lambda ids: [number(0), Broken()])
    assert type(Invoker(model).invoke(batch(1)).outcomes[0]) is InternalError
    assert type(Invoker(model).invoke(batch(2)).outcomes[1]) is InternalError


@pytest.mark.parametrize("make", [dict, MappingProxyType, collections.UserDict, collections.OrderedDict])
def test_any_mapping_is_a_result(make: Callable[[dict[str, int]], Mapping[str, int]]) -> None:
    assert Invoker(Scripted(lambda i: make({"i": i}))).invoke(batch(1)).outcomes == [{"i": 0}]


@dataclasses.dataclass
class Said:
    text: str


class Heard(msgspec.Struct):
    text: str


@pytest.mark.parametrize(
    "answer", ["ja", Said("ja"), Heard("ja"), {"text": "ja"}], ids=lambda answer: type(answer).__name__
)
def test_a_text_a_struct_and_a_dataclass_are_results(answer: object) -> None:
    for n in (1, 2):
        outcomes = Invoker(Scripted(lambda i: answer, lambda ids: [answer] * len(ids))).invoke(batch(n)).outcomes
        assert outcomes == [{"text": "ja"}] * n
        assert isinstance(outcomes[0], Output)
        assert outcomes[0].transcript == Transcript("ja")


def test_none_is_nothing_to_say() -> None:
    assert Invoker(Scripted(lambda i: None)).invoke(batch(1)).outcomes == [None]
    assert Invoker(Scripted(number, lambda ids: [None, number(1)])).invoke(batch(2)).outcomes == [None, {"i": 1}]


def test_results_are_no_longer_the_models_own() -> None:
    shared = {"i": 0, "scores": np.zeros(2)}

    def answer(i: int) -> dict[str, Any]:
        shared["i"] += 1
        shared["scores"] += 1
        return shared

    invoker = Invoker(Scripted(answer, lambda ids: [answer(i) for i in ids][:1] * len(ids)))
    outcomes = [invoker.invoke(batch(1)).outcomes[0] for _ in range(3)]
    outcomes += invoker.invoke(batch(2)).outcomes
    shared["scores"] += 1
    assert outcomes == [{"i": i, "scores": [i, i]} for i in (1, 2, 3, 5, 5)]


def test_a_value_that_raises_whatever_it_likes_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    class Exits:
        def tolist(self) -> Any:
            raise SystemExit("no list")

    assert type(Invoker(Scripted(lambda i: {"x": Exits()})).invoke(batch(1)).outcomes[0]) is InternalError
    assert "model 'scripted' failed" in caplog.text


def test_a_result_that_cannot_be_sent_is_logged_once_with_its_key(caplog: pytest.LogCaptureFixture) -> None:
    invoker = Invoker(Scripted(lambda i: {"type": 1}))
    assert [type(invoker.invoke(batch(1)).outcomes[0]) for _ in range(5)] == [InternalError] * 5
    (record,) = caplog.records
    assert record.getMessage() == "model 'scripted' failed: the key \"type\" of the result is reserved"


def test_bad_results_can_be_told_to_somebody_instead_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    Invoker(Scripted(lambda i: 7, lambda ids: 7), on_bad_result=told.append).invoke(batch(2))
    assert [text[:40] for text in told] == [
        "expected infer_batch to return a sequenc",
        *["expected a mapping with string keys, a m"] * 2,
    ]
    assert not caplog.records


# --- requests ---


class Asked(Model):
    """Answers what it was asked for."""

    def infer(self, audio: np.ndarray, request: Request) -> Any:
        return {"options": request.options, "of": request.channel}

    def open(self, request: Request) -> Any:
        return request.session_id

    def step(self, audio: np.ndarray, state: Any) -> Any:
        return {"session": state}


def test_a_model_gets_the_request_of_its_call() -> None:
    invoker = Invoker(Asked())
    request = Request(options="de", channel=1, session_id="s")
    one = Batch.gather(audios(1), [request])
    assert invoker.invoke(one).outcomes == [{"options": "de", "of": 1}]
    state = State()
    assert invoker.call("step", audios(1)[0], state, request) == {"session": "s"}
    assert invoker.call("step", audios(1)[0], state, Request(session_id="other")) == {"session": "s"}


def test_a_second_try_item_by_item_has_the_requests_of_the_batch() -> None:
    class Failing(Asked):
        def infer_batch(self, batch: Batch) -> Any:
            assert [request.channel for request in batch.requests] == [0, 1, 2]
            raise ValueError

    batch = Batch.gather(audios(3), [Request(channel=i) for i in range(3)])
    outcomes = Invoker(Failing()).invoke(batch, lambda i: None if i == 1 else batch[i]).outcomes
    assert outcomes[0::2] == [{"options": None, "of": 0}, {"options": None, "of": 2}]


# --- batches that fail ---


def test_only_the_poisoned_item_fails(caplog: pytest.LogCaptureFixture) -> None:
    def infer(i: int) -> Any:
        if i == 1:
            raise ValueError("poison")
        return number(i)

    def infer_batch(ids: list[int]) -> Any:
        return [infer(i) for i in ids]

    model = Scripted(infer, infer_batch)
    invocation = Invoker(model).invoke(batch(4))
    assert [type(outcome) for outcome in invocation.outcomes] == [Output, InternalError, Output, Output]
    assert invocation.outcomes[3] == {"i": 3}
    assert invocation.retried
    assert model.calls == [[0, 1, 2, 3], [0], [1], [2], [3]]  # Once together, once each, and no more.
    assert "a batch of 4 failed in model 'scripted': trying item by item" in caplog.text


def test_an_inference_error_in_a_batch_goes_to_its_item_alone(caplog: pytest.LogCaptureFixture) -> None:
    def infer(i: int) -> Any:
        if i == 0:
            raise InferenceError("no speech")
        return number(i)

    invocation = Invoker(Scripted(infer, lambda ids: [infer(i) for i in ids])).invoke(batch(2))
    assert str(invocation.outcomes[0]) == "no speech"
    assert invocation.outcomes[1] == {"i": 1}
    assert not caplog.records


def test_an_item_nobody_waits_for_is_not_tried_again() -> None:
    model = Scripted(number, raising(ValueError()))
    invocation = Invoker(model).invoke(batch(3), lambda i: None if i == 1 else audios(3)[i])
    assert model.calls == [[0, 1, 2], [0], [2]]
    assert invocation.outcomes[0] == {"i": 0}
    assert isinstance(invocation.outcomes[1], InferenceError)
    assert len(invocation.outcomes) == 3


@pytest.mark.parametrize("error", [SystemExit(), Odd()], ids=["SystemExit", "BaseException"])
def test_a_batch_survives_what_is_no_exception(error: BaseException) -> None:
    assert Invoker(Scripted(number, raising(error))).invoke(batch(2)).outcomes == [{"i": 0}, {"i": 1}]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "to return 2 results, one per item, not 0"),
        ([{"i": 9}], "to return 2 results, one per item, not 1"),
        ([{"i": 9}] * 3, "to return 2 results, one per item, not 3"),
        (None, "a sequence of 2 results, not an object of type 'NoneType'"),
        ({"i": 9, "j": 9}, "not an object of type 'dict'"),
        ("ab", "not an object of type 'str'"),
        (({"i": 9} for _ in range(2)), "not an object of type 'generator'"),
    ],
)
def test_a_batch_answer_of_another_form_is_logged_clearly_and_retried(
    answers: object, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    invocation = Invoker(Scripted(number, lambda ids: answers)).invoke(batch(2))
    assert invocation.outcomes == [{"i": 0}, {"i": 1}]
    assert invocation.retried
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "a batch of 2 failed in model 'scripted': trying item by item: expected infer_batch"
    )
    assert words in record.getMessage()


def test_one_entry_that_is_no_mapping_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    model = Scripted(raising(AssertionError), lambda ids: ({"i": 0}, 7, {"i": 2}))
    invocation = Invoker(model).invoke(batch(3))
    assert invocation.outcomes[0::2] == [{"i": 0}, {"i": 2}]
    assert type(invocation.outcomes[1]) is InternalError
    assert "not an object of type 'int'" in caplog.text


def test_a_model_that_changes_a_batch_cannot_spoil_the_second_try() -> None:
    class Vandal(Model):
        def infer(self, audio: np.ndarray) -> dict[str, float]:
            return {"sum": float(audio.sum())}

        def infer_batch(self, batch: Batch) -> Any:
            batch.audio[:] = 99
            raise ValueError

    originals = audios(2)
    invocation = Invoker(Vandal()).invoke(Batch.gather(originals), originals.__getitem__)
    assert invocation.outcomes == [{"sum": 0.0}, {"sum": 4.0}]


def test_without_the_originals_the_second_try_gets_the_rows_of_the_batch() -> None:
    class Halver(Model):
        def infer(self, audio: np.ndarray) -> dict[str, float]:
            return {"n": len(audio), "sum": float(audio.sum())}

        def infer_batch(self, batch: Batch) -> Any:
            batch.audio[:] = 2
            raise ValueError

    assert Invoker(Halver()).invoke(batch(2)).outcomes == [{"n": 3, "sum": 6.0}, {"n": 4, "sum": 8.0}]


def test_a_model_that_always_fails_writes_one_record(caplog: pytest.LogCaptureFixture) -> None:
    def broken(i: int) -> Any:
        raise ValueError

    invoker = Invoker(Scripted(broken))
    for _ in range(50):
        invoker.invoke(batch(1))
    assert len(caplog.records) == 1


# --- generators ---


class Listener:
    """Where interim results go; nobody needs the call after `n_needed` looks."""

    def __init__(self, n_needed: int = 1000, is_wanted: bool = True) -> None:
        self.n_needed = n_needed
        self.is_wanted = is_wanted
        self.sent: list[Output] = []

    @property
    def is_needed(self) -> bool:
        self.n_needed -= 1
        return self.n_needed >= 0

    def send(self, output: Output) -> None:
        self.sent.append(output)


def yielding(*values: Any, result: Any = None, error: BaseException | None = None) -> Callable[[int], Any]:
    def generator(_: int) -> Any:
        yield from values
        if error is not None:
            raise error
        return result

    return generator


@pytest.mark.parametrize(
    ("infer", "sent", "outcome"),
    [
        (yielding({"n": 0}, {"n": 1}), [{"n": 0}, {"n": 1}], {"n": 1}),
        (yielding("a", "a b"), [{"text": "a"}, {"text": "a b"}], {"text": "a b"}),
        (yielding({"n": 0}, None), [{"n": 0}], None),
        (yielding(), [], None),
        (yielding({"n": 0}, result={"all": 1}), [{"n": 0}], {"all": 1}),
        (yielding(result="all"), [], {"text": "all"}),
    ],
)
def test_yields_are_interim_results_and_the_last_value_is_the_result(infer: Any, sent: Any, outcome: Any) -> None:
    listener = Listener()
    assert Invoker(Scripted(infer)).invoke(batch(1), None, listener).outcomes == [outcome]
    assert listener.sent == sent
    silent = Listener(is_wanted=False)
    assert Invoker(Scripted(infer)).invoke(batch(1), None, silent).outcomes == [outcome]
    assert silent.sent == []


def test_a_yielded_buffer_may_be_used_again() -> None:
    def reuses(_: int) -> Any:
        answer = {"n": 0}
        for n in range(3):
            answer["n"] = n
            yield answer

    listener = Listener()
    Invoker(Scripted(reuses)).invoke(batch(1), None, listener)
    assert listener.sent == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("infer", "kind", "log"),
    [
        (yielding({"n": 0}, error=ValueError("half way")), InternalError, "half way"),
        (yielding({"n": 0}, error=InferenceError("no more")), InferenceError, ""),
        (yielding({"n": 0}, {3}), InternalError, "set"),
        (yielding({"n": 0}, {"type": 3}), InternalError, 'key "type" of the result is reserved'),
    ],
)
def test_a_generator_that_fails_half_way_is_an_error(
    infer: Any, kind: type[Exception], log: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener()
    (outcome,) = Invoker(Scripted(infer)).invoke(batch(1), None, listener).outcomes
    assert type(outcome) is kind
    assert listener.sent == [{"n": 0}]
    assert log in caplog.text


def test_a_generator_that_nobody_needs_is_closed_at_its_next_yield() -> None:
    ended: list[Any] = []

    def generator(_: int) -> Any:
        n = 0
        try:
            while True:
                yield {"n": n}
                n += 1
        except GeneratorExit:
            ended.append(n)
            raise

    listener = Listener(n_needed=2)
    (outcome,) = Invoker(Scripted(generator)).invoke(batch(1), None, listener).outcomes
    assert str(outcome) == "Cancelled"
    assert listener.sent == [{"n": 0}, {"n": 1}]
    assert ended == [2]


def test_a_generator_that_does_not_let_itself_be_closed_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    def generator(_: int) -> Any:
        with contextlib.suppress(GeneratorExit):
            yield {}
        yield {}

    (outcome,) = Invoker(Scripted(generator)).invoke(batch(1), None, Listener(n_needed=0)).outcomes
    assert type(outcome) is InternalError
    assert "generator ignored GeneratorExit" in caplog.text


def test_a_plain_method_that_returns_a_coroutine_is_a_bad_result(caplog: pytest.LogCaptureFixture) -> None:
    made: list[Any] = []

    async def answer() -> Any:
        return {}

    def forgot_to_await(_: int) -> Any:
        made.append(answer())
        return made[0]

    (outcome,) = Invoker(Scripted(forgot_to_await)).invoke(batch(1)).outcomes
    made[0].close()
    assert type(outcome) is InternalError
    assert "coroutine" in caplog.text
