from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reference.resample_ref import output_length
from voxgate._native.resample import MAX_RATE, MIN_RATE
from voxgate.audio.length import resampled_length

rates = st.integers(MIN_RATE, MAX_RATE)


@given(n_samples=st.integers(0, 2**62), from_rate=rates, to_rate=rates)
def test_equals_the_textbook(n_samples: int, from_rate: int, to_rate: int) -> None:
    assert resampled_length(n_samples, from_rate, to_rate) == output_length(n_samples, from_rate, to_rate)
