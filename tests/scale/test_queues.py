"""Where theory knows the answer, the simulation gives it; the bounds are about three standard errors of these runs."""

from __future__ import annotations

import numpy as np
import pytest
from bench.scale import arrivals, closed_forms, simulation, talk
from bench.scale.cell import Cell, ModelCost

SILENCE_S = 0.05
SPEECH = talk.Talk(*(np.random.default_rng(seed).exponential(mean_s, 4001) for seed, mean_s in ((1, 1.0), (2, 3.0))))


def run(
    model: ModelCost, n_replicas: int = 1, n_streams: int = 400, end_s: float = 100.0, **changes: float
) -> simulation.Result:
    """Many streams, so that their finals are nearly a Poisson process; each utterance is one exponential spurt."""
    cell = Cell(
        1, n_replicas, model, silence_s=SILENCE_S, speculate_s=0.0, prefix_s=0.0, max_items=1, queue_wait_s=1e9,
        late_s=1e9,
    )  # fmt: skip
    sessions = arrivals.Sessions(np.zeros(n_streams), np.full(n_streams, 1e6), 10 * np.arange(n_streams))
    return simulation.run(cell.but(**changes), sessions, SPEECH, begin_s=10.0, end_s=end_s)


def per_s(result: simulation.Result) -> float:
    return len(result.wait_s) / (result.end_s - result.begin_s)


def test_exponential_service() -> None:
    result = run(ModelCost(0.0, 0.0, 0.0065))
    # Pauses below SILENCE_S join spurts, so the service is not quite exponential: its own moments say what is due.
    lengths = 0.0065 * SPEECH.utterances_s(SILENCE_S)
    expected_s = closed_forms.mg1_wait_s(per_s(result), float(np.mean(lengths)), float(np.mean(lengths**2)))
    assert np.mean(result.wait_s) == pytest.approx(expected_s, rel=0.12)


def test_constant_service() -> None:
    result = run(ModelCost(0.007))
    expected_s = closed_forms.mg1_wait_s(per_s(result), 0.007, 0.007**2)
    assert np.mean(result.wait_s) == pytest.approx(expected_s, rel=0.12)
    assert result.busy == pytest.approx(per_s(result) * 0.007, rel=0.01)


def test_many_servers() -> None:
    service_s = 0.032
    result = run(ModelCost(0.0, 0.0, service_s), n_replicas=4)
    expected_s = closed_forms.mmn_wait_s(4, per_s(result), service_s * float(np.mean(SPEECH.utterances_s(SILENCE_S))))
    assert np.mean(result.wait_s) == pytest.approx(expected_s, rel=0.2)


def test_erlang_c() -> None:
    assert closed_forms.erlang_c(1, 0.7) == pytest.approx(0.7)
    assert closed_forms.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert closed_forms.erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)
    with pytest.raises(ValueError, match="less than 2 Erlang"):
        closed_forms.erlang_c(2, 2.0)


def test_batches_take_what_has_come() -> None:
    result = run(ModelCost(0.02), max_items=1000)
    assert result.mean_batch == pytest.approx(closed_forms.mean_batch(per_s(result), 0.02), rel=0.04)


def test_saturated_batches_are_full() -> None:
    result = run(ModelCost(0.1, 0.01), n_streams=400, end_s=40.0, max_items=8)
    assert result.mean_batch == pytest.approx(8.0, abs=0.01)
    per_s_ = result.counts["items"] / 30.0
    assert per_s_ == pytest.approx(closed_forms.most_items_per_s(8, 0.1, 0.01), rel=0.02)


def test_a_window_makes_larger_batches() -> None:
    alone, waiting = run(ModelCost(0.001), end_s=30.0), run(ModelCost(0.001), end_s=30.0, max_items=16, window_s=0.05)
    assert alone.mean_batch == 1.0
    # All that come within the window: about 5 beside the first one.
    assert waiting.mean_batch == pytest.approx(1 + 0.05 * per_s(waiting), rel=0.1)
    assert np.max(waiting.wait_s) <= 0.05 + 0.002
