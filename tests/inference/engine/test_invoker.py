from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from voxgate.errors import InferenceError, InternalError, Overloaded
from voxgate.inference.engine.invoker import Invoker
from voxgate.models.base import Batch, Model

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
        (None, "NoneType"),
        (["secret"], "list"),
        ("secret", "str"),
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
        f"model 'scripted' failed: expected a mapping with string keys, not an object of type {type_name!r}"
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


def test_results_are_copies() -> None:
    shared = {"i": 0}

    def answer(i: int) -> dict[str, int]:
        shared["i"] += 1
        return shared

    invoker = Invoker(Scripted(answer))
    assert [invoker.invoke(batch(1)).outcomes[0] for _ in range(3)] == [{"i": 1}, {"i": 2}, {"i": 3}]


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
    assert [type(outcome) for outcome in invocation.outcomes] == [dict, InternalError, dict, dict]
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
        ([], "to return 2 mappings, one per item, not 0"),
        ([{"i": 9}], "to return 2 mappings, one per item, not 1"),
        ([{"i": 9}] * 3, "to return 2 mappings, one per item, not 3"),
        (None, "a sequence of 2 mappings, not an object of type 'NoneType'"),
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
    model = Scripted(raising(AssertionError), lambda ids: ({"i": 0}, None, {"i": 2}))
    invocation = Invoker(model).invoke(batch(3))
    assert invocation.outcomes[0::2] == [{"i": 0}, {"i": 2}]
    assert type(invocation.outcomes[1]) is InternalError
    assert "not an object of type 'NoneType'" in caplog.text


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
