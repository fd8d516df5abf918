from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.runtime.histogram import BATCH_SIZES, COARSE_S, FACTORS, LATENCIES_S, LENGTHS_S, STAGES_S, Histogram


@given(st.lists(st.floats(0, 10), max_size=30))
def test_each_observation_is_in_the_bucket_it_fits_into(values: list[float]) -> None:
    bounds = (0.5, 1.0, 2.0, 5.0)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    cumulated = [sum(histogram.counts[: n + 1]) for n in range(len(bounds))]
    assert cumulated == [sum(value <= bound for value in values) for bound in bounds]
    assert histogram.count == len(values)
    assert histogram.total == pytest.approx(sum(values))


@pytest.mark.parametrize("bounds", [BATCH_SIZES, COARSE_S, FACTORS, LATENCIES_S, LENGTHS_S, STAGES_S])
def test_bounds_rise(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def test_bounds_resolve_a_millisecond_and_half_a_thousandth() -> None:
    assert {0.0005, 0.001, 0.002, 0.003, 0.004, 0.005} <= set(LATENCIES_S)
    assert {0.0003, 0.0004, 0.0005, 0.0006, 0.0007} <= set(FACTORS)
