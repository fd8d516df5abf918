"""The audio of all streams that waits, and who has more than its allowance of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.service.audio_budget import AudioBudget


def test_all_sessions_and_channels_count_together():
    buffered = AudioBudget(10.0)
    mono, stereo = buffered.open(1), buffered.open(2)
    mono.hold(3.0)
    stereo.hold(3.0)
    assert buffered.total_s == 9.0
    assert not buffered.is_full
    mono.hold(4.0)
    assert buffered.is_full
    stereo.close()
    assert buffered.total_s == 4.0
    mono.close()
    assert buffered.total_s == 0.0


def test_when_all_is_full_those_with_more_than_their_share_have_to_wait():
    buffered = AudioBudget(10.0)
    large, small = buffered.open(1), buffered.open(1)
    large.hold(9.0)
    small.hold(0.5)
    assert not large.is_too_large  # there is room
    small.hold(1.0)
    assert large.is_too_large
    assert not small.is_too_large
    assert not large.is_small_again
    large.hold(2.0)
    assert not large.is_too_large
    assert large.is_small_again


def test_one_that_is_alone_may_have_it_all():
    buffered = AudioBudget(10.0)
    allowance = buffered.open(1)
    allowance.hold(9.9)
    assert not allowance.is_too_large
    allowance.hold(10.0)
    assert allowance.is_too_large


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100)), max_size=50))
def test_whenever_all_is_full_somebody_has_to_wait_and_who_has_nothing_never(changes):
    buffered = AudioBudget(60.0)
    allowances = [buffered.open(1) for _ in range(5)]
    held = [0.0] * 5
    for which, backlog_s in changes:
        allowances[which].hold(backlog_s)
        held[which] = backlog_s
        assert buffered.total_s == pytest.approx(sum(held))
        if sum(held) > 60.001:
            assert any(allowance.is_too_large for allowance in allowances)
        assert not any(
            allowance.is_too_large for allowance, own_s in zip(allowances, held, strict=True) if own_s < 11.9
        )
    for allowance in allowances:
        allowance.close()
    assert buffered.total_s == 0.0
