"""What `voxgate models check` measures on models whose behaviour is known."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from voxgate import recordings
from voxgate.cli import measure
from voxgate.cli.measure import CheckFailed, pieces
from voxgate.errors import InferenceError
from voxgate.models import Batch, Model
from voxgate.models.request import Request


class Counting(Model):
    """Answers at once, and knows what it was asked."""

    sample_rate = 8000

    def __init__(self) -> None:
        self.n_warm = 0
        self.n_calls = 0
        self.sizes: list[int] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def warm_up(self) -> None:
        self.n_warm += 1

    def infer(self, audio: Any) -> Mapping[str, Any]:
        with self.lock:
            assert audio.dtype == np.float32
            assert audio.any()  # not a copy that another call has cleared
            self.n_calls += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        audio[:] = 0  # which a model may
        threading.Event().wait(0.001)  # it gives way
        with self.lock:
            self.at_once -= 1
        return {"count": np.int64(len(audio))}


class Batching(Counting):
    def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        self.sizes.append(len(batch))
        return [{"count": int(n)} for n in batch.lengths]


def test_pieces_are_what_the_segmented_route_would_give() -> None:
    truth = recordings.truth("demo")[0]
    for rate in (16_000, 8000):
        found = pieces(rate)
        assert [one.text for one in found] == [spoken.text for spoken in truth]
        for one, spoken in zip(found, truth, strict=True):
            assert len(one.audio) / rate == pytest.approx(spoken.end_s - spoken.start_s + 0.6, abs=0.001)
            assert one.audio.dtype == np.float32
            assert one.audio.flags.c_contiguous
            assert np.abs(one.audio).max() > 0.1


def test_a_model_is_warmed_up_asked_and_timed() -> None:
    model = Counting()
    found = measure.measure(model, 0.0)
    assert model.n_warm == 1
    assert [one.text for one in found.said] == [said.text for said in recordings.truth("demo")[0]]
    assert found.said[0].answer == {"count": len(pieces(8000)[0].audio)}
    assert found.speed.calls == 4
    assert found.speed.call_s > 0.001
    assert found.speed.real_time_factor == pytest.approx(found.speed.call_s / found.speed.audio_s, rel=0.5)
    assert found.batches == ()
    assert found.two_at_once is not None
    assert model.most_at_once == 2


def test_a_model_that_allows_one_call_at_a_time_gets_one() -> None:
    model = Counting()
    model.threads = 1
    assert measure.measure(model, 0.0).two_at_once is None
    assert model.most_at_once == 1


def test_batches_are_measured_where_there_are_any() -> None:
    model = Batching()
    found = measure.measure(model, 0.0)
    assert [one.size for one in found.batches] == [4, 8]
    assert set(model.sizes) == {4, 8}
    assert all(one.gain > 1 for one in found.batches)  # singles wait, batches do not


def test_a_model_of_steps_alone_is_stepped() -> None:
    class Steps(Model):
        def open(self) -> list[int]:
            return []

        def step(self, audio: Any, state: list[int]) -> Mapping[str, Any] | None:
            state.append(len(audio))
            return None

        def finish(self, state: list[int]) -> Mapping[str, Any] | None:
            return {"steps": state}

    found = measure.measure(Steps(), 0.0)
    n = len(pieces(16_000)[0].audio)
    assert found.said[0].answer == {"steps": [1600] * (n // 1600) + [n % 1600] * (n % 1600 > 0)}


def test_a_model_without_any_result() -> None:
    class Silent(Model):
        def step(self, audio: Any, state: Any) -> Mapping[str, Any] | None:
            return None

    assert [one.answer for one in measure.measure(Silent(), 0.0).said] == [None] * 4


class Failing(Model):
    def __init__(self, error: BaseException | None = None, answer: Any = None) -> None:
        self.error, self.answer = error, answer

    def infer(self, audio: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Failing(ValueError("too loud")),
            r"infer failed on 'Good morning.*: ValueError: too loud \(test_measure\.py, line \d+, in infer\)$",
        ),
        (Failing(InferenceError("no words")), r"infer failed on .*: InferenceError: no words \(test_measure.*\)$"),
        (Failing(SystemExit(3)), r"infer failed on .*: SystemExit: 3 \(test_measure.*\)$"),
        (
            Failing(answer=[1]),
            r"infer failed on 'Good morning.*': expected a mapping with string keys, .*, not an object of type 'list'$",
        ),
        (
            Failing(answer=7),
            r"infer failed on .*: expected a mapping with string keys, .*, not an object of type 'int'$",
        ),
        (
            Failing(answer={1: 2}),
            r"infer failed on .*: expected a result .*, but a key is of type 'int'$",
        ),
        (Failing(answer={"type": 1}), r'infer failed on .*: the key "type" of the result is reserved$'),
        (Failing(answer={"x": object()}), r"infer failed on .*: the key .* object has no JSON form$"),
    ],
)
def test_failures_say_at_what(model: Model, message: str) -> None:
    with pytest.raises(CheckFailed, match=message):
        measure.measure(model, 0.0)


def test_a_failing_warm_up_and_batch() -> None:
    class Cold(Counting):
        def warm_up(self) -> None:
            raise OSError("no weights")

    with pytest.raises(
        CheckFailed, match=r"^warm_up failed: OSError: no weights \(test_measure\.py, line \d+, in warm_up\)$"
    ):
        measure.measure(Cold(), 0.0)

    class Short(Batching):
        def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
            return [{}]

    with pytest.raises(CheckFailed, match=r"^infer_batch of 4 failed: .* return 4 results, one per item, not 1$"):
        measure.measure(Short(), 0.0)


def test_every_answer_of_a_batch_and_of_a_step_is_looked_at() -> None:
    class Holey(Batching):
        def infer_batch(self, batch: Batch) -> Any:
            return [{}] * (len(batch) - 1) + [7]

    with pytest.raises(CheckFailed, match=r"^infer_batch of 4 failed: expected a mapping .* of type 'int'$"):
        measure.measure(Holey(), 0.0)

    class Zero(Model):
        def step(self, audio: Any, state: Any) -> Any:
            return 0

        def finish(self, state: Any) -> Mapping[str, Any] | None:
            return {"n": 1}

    with pytest.raises(CheckFailed, match=r"^step failed on .*: expected a mapping .* of type 'int'$"):
        measure.measure(Zero(), 0.0)


def test_a_failure_on_a_thread_comes_back() -> None:
    class Second(Counting):
        """Fails as soon as two calls run at once."""

        def infer(self, audio: Any) -> Mapping[str, Any]:
            answer = super().infer(audio)
            if self.most_at_once > 1:
                raise RuntimeError("not twice")
            return answer

    with pytest.raises(CheckFailed, match="RuntimeError: not twice"):
        measure.measure(Second(), 0.0)


def test_a_model_is_called_with_the_request_of_a_client_that_chooses_nothing() -> None:
    class Asking(Model):
        class Options(Struct):
            language: str = "de"

        def infer(self, audio: Any, request: Request) -> str:
            return f"{request.options.language} {request.session_id}"

        def infer_batch(self, batch: Batch) -> list[str]:
            return [self.infer(audio, request) for audio, request in zip(batch, batch.requests, strict=True)]

    assert measure.measure(Asking(), 0.0).said[0].answer == {"text": "de check"}

    class Demanding(Asking):
        class Options(Struct):
            language: str

    with pytest.raises(CheckFailed, match=r"^cannot be called without options of a client: options.language: expected"):
        measure.measure(Demanding(), 0.0)
