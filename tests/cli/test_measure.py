"""What `voxgate models check` measures, on models whose behaviour is known, and what it suggests for given figures."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from voxgate import recordings
from voxgate.cli import measure
from voxgate.cli.measure import BatchGain, Behaviour, CheckFailed, Gil, Said, Speed, pieces, suggest
from voxgate.errors import InferenceError
from voxgate.models import Batch, Model


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
            assert audio.any()  # nobody else's, from before
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
        assert [one.text for one in found] == [said.text for said in truth]
        for one, said in zip(found, truth, strict=True):
            assert len(one.audio) / rate == pytest.approx(said.end_s - said.start_s + 0.6, abs=0.001)
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


def test_a_model_that_never_says_anything() -> None:
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
            r"infer failed on 'Good morning.*': expected a mapping with string keys, not an object of type 'list'$",
        ),
        (
            Failing(answer=None),
            r"infer failed on .*: expected a mapping with string keys, not an object of type 'NoneType'$",
        ),
        (Failing(answer={1: 2}), r"infer failed on .*: expected a mapping .*, but a key is of type 'int'$"),
        (Failing(answer={"type": 1}), r'sending the answer failed .*key "type" is reserved$'),
        (Failing(answer={"x": object()}), r"sending the answer failed on .*object has no JSON form$"),
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

    with pytest.raises(CheckFailed, match=r"^infer_batch of 4 failed: .* return 4 mappings, one per item, not 1$"):
        measure.measure(Short(), 0.0)


def test_every_answer_of_a_batch_and_of_a_step_is_looked_at() -> None:
    class Holey(Batching):
        def infer_batch(self, batch: Batch) -> Any:
            return [{}] * (len(batch) - 1) + [None]

    with pytest.raises(CheckFailed, match=r"^infer_batch of 4 failed: expected a mapping .* of type 'NoneType'$"):
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


def test_a_worker_says_how_it_failed() -> None:
    def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        measure._spin_beside(fail)


# --- suggestions ---


def behaviour(
    share: float = 1.0, two: float | None = 1.9, best: float | None = 1.9, batches: Sequence[BatchGain] = ()
) -> Behaviour:
    speed = Speed(calls=4, call_s=0.1, audio_s=2.0, real_time_factor=0.05)
    return Behaviour(0.1, 0.1, [Said("a", {})], speed, Gil(share, 0.01), batches, two, best)


def settings(model: Model, found: Behaviour, n_cpus: int = 2) -> dict[str, Any]:
    return {one.key: one.value for one in suggest(model, found, n_cpus)}


@pytest.mark.parametrize(
    ("share", "verdict", "isolation"),
    [
        (0.0, "holds", "process"),
        (0.34, "holds", "process"),
        (0.35, "shares", "threads"),
        (0.69, "shares", "threads"),
        (0.7, "releases", "threads"),
        (1.0, "releases", "threads"),
    ],
)
def test_the_gil_decides_where_it_runs(share: float, verdict: str, isolation: str) -> None:
    found = behaviour(share)
    assert found.gil.verdict == verdict
    assert settings(Counting(), found)["inference.isolation"] == isolation
    assert ("inference.processes" in settings(Counting(), found)) == (isolation == "process")
    assert ("inference.threads" in settings(Counting(), found)) == (isolation == "threads")


def test_a_model_that_says_it_holds_the_gil_is_believed() -> None:
    model = Counting()
    model.holds_gil = True
    assert settings(model, behaviour(1.0))["inference.isolation"] == "process"
    assert "comes by itself" in suggest(model, behaviour(1.0))[0].reason


@pytest.mark.parametrize(
    ("two", "best", "n_cpus", "threads", "reason"),
    [
        (1.9, 1.9, 2, 0, "one for each CPU, here 2: two calls at once are 1.90x as fast"),
        (1.9, 1.0, 1, 0, "two calls at once are 1.90x as fast"),  # it waits, rather than computes
        (1.0, 1.9, 2, 1, "two calls at once are no faster than one after the other (1.00x)"),
        (1.0, 1.1, 2, 0, "too busy to tell"),
        (1.0, 1.0, 1, 1, "there is one CPU"),
        (None, None, 2, 0, "the model allows one call at a time"),
    ],
)
def test_threads(two: float | None, best: float | None, n_cpus: int, threads: int, reason: str) -> None:
    found = behaviour(two=two, best=best)
    setting = suggest(Counting(), found, n_cpus)[1]
    assert (setting.key, setting.value) == ("inference.threads", threads)
    assert reason in setting.reason


def test_the_models_own_number_of_threads() -> None:
    model = Counting()
    model.threads = 64
    setting = suggest(model, behaviour(), 2)[1]
    assert (setting.value, "the model's own number, 64" in setting.reason) == (0, True)


@pytest.mark.parametrize(
    ("gains", "size"), [((1.0, 1.05), 1), ((2.0, 3.0), 16), ((2.0, 1.5), 4), ((0.5, 0.6), 1), ((1.0, 1.1), 16)]
)
def test_the_size_of_batches(gains: tuple[float, float], size: int) -> None:
    found = behaviour(batches=[BatchGain(4, gains[0]), BatchGain(8, gains[1])])
    assert settings(Counting(), found)["inference.max_batch_size"] == size
    assert "inference.max_batch_size" not in settings(Counting(), behaviour())


def test_every_suggestion_is_a_setting() -> None:
    from voxgate.config import load_config

    for found in (behaviour(0.0), behaviour(batches=[BatchGain(4, 1.0), BatchGain(8, 3.0)])):
        load_config(environ={}, overrides=settings(Counting(), found))
