"""The audio of all streams that waits, and who has more than its share of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.buffered import BufferedAudio


def test_all_sessions_and_channels_count_together():
    buffered = BufferedAudio(10.0)
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
    buffered = BufferedAudio(10.0)
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
    buffered = BufferedAudio(10.0)
    share = buffered.open(1)
    share.hold(9.9)
    assert not share.is_too_large
    share.hold(10.0)
    assert share.is_too_large


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100)), max_size=50))
def test_whenever_all_is_full_somebody_has_to_wait_and_who_has_nothing_never(changes):
    buffered = BufferedAudio(60.0)
    shares = [buffered.open(1) for _ in range(5)]
    held = [0.0] * 5
    for which, backlog_s in changes:
        shares[which].hold(backlog_s)
        held[which] = backlog_s
        assert buffered.total_s == pytest.approx(sum(held))
        if sum(held) > 60.001:
            assert any(share.is_too_large for share in shares)
        assert not any(share.is_too_large for share, own_s in zip(shares, held, strict=True) if own_s < 11.9)
    for share in shares:
        share.close()
    assert buffered.total_s == 0.0
