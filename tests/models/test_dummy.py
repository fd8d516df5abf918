from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from voxgate.errors import InferenceError
from voxgate.models.base import Batch
from voxgate.models.dummy import Dummy

SECOND = np.zeros(16_000, np.float32)
CALM: dict[str, Any] = {"jitter": 0.0, "panic_rate": 0.0, "warmup_penalty": 0.0}


def make(**knobs: Any) -> tuple[Dummy, list[float]]:
    """A dummy that writes down how long it would have slept."""
    model = Dummy(**knobs)
    slept: list[float] = []
    model.sleep = slept.append
    return model, slept


def test_the_defaults_are_those_of_the_series() -> None:
    model = Dummy()
    knobs = ("delay", "constant_factor", "jitter", "failure_rate", "panic_rate", "warmup_penalty")
    assert [getattr(model, knob) for knob in knobs] == [0.5, 0.3, 0.2, 0.0, 0.01, 10.0]
    assert (model.crash_rate, model.hang_rate, model.needs_process, model.threads) == (0.0, 0.0, None, 64)
    assert model.name == "dummy"


def test_it_answers_the_number_of_samples() -> None:
    model, _ = make(**CALM)
    assert model.infer(SECOND[:123]) == {"count": 123}
    assert model.infer(SECOND[:0]) == {"count": 0}


@pytest.mark.parametrize(
    ("n_samples", "knobs", "expected_s"),
    [
        (0, {"delay": 0.5, "constant_factor": 0.3}, 0.5),
        (16_000, {"delay": 0.5, "constant_factor": 0.3}, 0.8),
        (8_000, {"delay": 0.0, "constant_factor": 2.0}, 1.0),
        (16_000, {"delay": 0.0, "constant_factor": 0.0}, 0.0),
    ],
)
def test_delay(n_samples: int, knobs: dict[str, float], expected_s: float) -> None:
    model, slept = make(**CALM | knobs)
    model.infer(SECOND[:n_samples])
    assert slept == [pytest.approx(expected_s)]


def test_only_the_first_call_pays_the_warm_up_penalty() -> None:
    model, slept = make(**CALM | {"delay": 0.5, "constant_factor": 0.3, "warmup_penalty": 10.0})
    for _ in range(3):
        model.infer(SECOND)
    assert slept == [pytest.approx(0.8 * 11), pytest.approx(0.8), pytest.approx(0.8)]


def test_jitter_spreads_evenly_around_the_delay_and_never_below_zero() -> None:
    model, slept = make(**CALM | {"delay": 0.5, "constant_factor": 0.0, "jitter": 0.2, "seed": 1})
    for _ in range(500):
        model.infer(SECOND)
    assert 0.3 <= min(slept) < 0.31
    assert 0.69 < max(slept) <= 0.7
    assert np.mean(slept) == pytest.approx(0.5, abs=0.01)
    model, slept = make(**CALM | {"delay": 0.0, "constant_factor": 0.0, "jitter": 1.0, "seed": 1})
    for _ in range(50):
        model.infer(SECOND)
    assert min(slept) == 0.0
    assert max(slept) > 0.5


def outcomes(model: Dummy, n_calls: int) -> list[str]:
    seen = []
    for _ in range(n_calls):
        try:
            model.infer(SECOND)
            seen.append("result")
        except (InferenceError, RuntimeError) as error:
            seen.append(str(error))
    return seen


@pytest.mark.parametrize(
    ("knob", "message"),
    [("failure_rate", "Unexpected inference failure"), ("panic_rate", "Inference catastrophically failed")],
)
def test_failures_come_as_often_as_asked(knob: str, message: str) -> None:
    never, _ = make(**CALM | {knob: 0.0, "seed": 3})
    assert message not in outcomes(never, 200)
    always, slept = make(**CALM | {knob: 1.0, "seed": 3})
    assert outcomes(always, 20) == [message] * 20
    assert len(slept) == 20  # A failure costs its time too.
    half, _ = make(**CALM | {knob: 0.5, "seed": 3})
    assert 150 < outcomes(half, 400).count(message) < 250


def test_a_failure_is_for_the_client_and_a_panic_is_not() -> None:
    failing, _ = make(**CALM | {"failure_rate": 1.0})
    with pytest.raises(InferenceError, match=r"^Unexpected inference failure$"):
        failing.infer(SECOND)
    panicking, _ = make(**CALM | {"panic_rate": 1.0})
    with pytest.raises(RuntimeError) as caught:
        panicking.infer(SECOND)
    assert not isinstance(caught.value, InferenceError)


def test_a_seed_decides_by_the_number_of_the_call() -> None:
    knobs = {"failure_rate": 0.3, "panic_rate": 0.3, "jitter": 0.2, "seed": 11}
    (one, slept_one), (two, slept_two) = make(**knobs), make(**knobs)
    assert outcomes(one, 50) == outcomes(two, 50)
    assert slept_one == slept_two
    other, slept_other = make(**knobs | {"seed": 12})
    outcomes(other, 50)
    assert slept_other != slept_one
    # Turning one knob leaves the others' luck alone.
    calm, slept_calm = make(**knobs | {"failure_rate": 0.0})
    outcomes(calm, 50)
    assert slept_calm == slept_one


def test_a_crash_ends_the_process_after_the_delay() -> None:
    model, slept = make(**CALM | {"crash_rate": 1.0})

    def leave(status: int) -> None:
        assert len(slept) == 1
        raise SystemExit(status)

    model.exit = leave
    with pytest.raises(SystemExit) as caught:
        model.infer(SECOND)
    assert caught.value.code == Dummy.CRASH_STATUS
    assert model.needs_process == "crash_rate is 1.0"


def test_a_hang_never_returns() -> None:
    model = Dummy(**CALM | {"hang_rate": 1.0})
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 10:
            raise KeyboardInterrupt

    model.sleep = sleep
    with pytest.raises(KeyboardInterrupt):
        model.infer(SECOND)
    assert len(slept) == 11
    assert model.needs_process == "hang_rate is 1.0"


RATES = ("failure_rate", "panic_rate", "crash_rate", "hang_rate")


@pytest.mark.parametrize(
    ("knob", "value", "highest"),
    [
        *[(knob, value, "1") for knob in RATES for value in (-0.01, 1.01, math.nan)],
        *[(knob, value, "3600") for knob in ("delay", "jitter", "item_delay") for value in (-1, 3601, math.inf)],
        *[(knob, value, "1000") for knob in ("constant_factor", "warmup_penalty") for value in (-1, 1001)],
        ("delay", "0.5", "3600"),
        ("delay", True, "3600"),
        ("delay", None, "3600"),
    ],
)
def test_a_bad_value_is_refused_with_knob_value_and_range(knob: str, value: object, highest: str) -> None:
    with pytest.raises(ValueError, match=rf"^{knob} must be .* 0\.\.{highest}, not ") as caught:
        Dummy(**{knob: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("lengths", "expected_s"), [([16_000], 0.06 + 0.5), ([16_000, 0, 8000], 0.08 + 0.75), ([0] * 10, 0.15)]
)
def test_a_batch_costs_so_much_and_so_much_an_item(lengths: list[int], expected_s: float) -> None:
    model, slept = make(**CALM | {"delay": 0.05, "item_delay": 0.01, "constant_factor": 0.5})
    batch = Batch.gather([SECOND[:n] for n in lengths])
    assert model.infer_batch(batch) == [{"count": n} for n in lengths]
    assert slept == [pytest.approx(expected_s)]
    if len(lengths) == 1:
        model.infer(SECOND)
        assert slept[1] == slept[0]


def test_it_batches_only_when_it_is_told_what_that_costs() -> None:
    assert not Dummy().batches
    assert Dummy(item_delay=0.0).batches


@pytest.mark.parametrize("knob", ["failure_rate", "panic_rate"])
def test_a_batch_can_fail_too(knob: str) -> None:
    model, slept = make(**CALM | {knob: 1.0, "item_delay": 0.01})
    with pytest.raises((InferenceError, RuntimeError), match=r"^(Unexpected|Inference)"):
        model.infer_batch(Batch.gather([SECOND, SECOND]))
    assert len(slept) == 1


@pytest.mark.parametrize("seed", [1.5, "1", True])
def test_a_bad_seed_is_refused(seed: object) -> None:
    with pytest.raises(ValueError, match=r"^seed must be an integer"):
        Dummy(seed=seed)  # type: ignore[arg-type]


def test_the_bounds_themselves_are_allowed() -> None:
    Dummy(delay=0, constant_factor=0, jitter=0, failure_rate=1, panic_rate=1, warmup_penalty=0, crash_rate=1, seed=-1)
    Dummy(delay=3600, constant_factor=1000, jitter=3600, warmup_penalty=1000)
