"""Finals of a stream under load are held against the reference by their bounds, not by their number."""

from __future__ import annotations

from voxgate.load.reference import ChannelReference
from voxgate.load.stream import _ChannelProgress

FINALS = [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)]


def test_an_error_stands_in_the_place_of_a_final_and_no_other_is_taken_for_it():
    progress = _ChannelProgress(ChannelReference(finals=FINALS))
    assert progress.accepts_final(FINALS[0])
    progress.errors += 1  # in the place of the second
    assert progress.accepts_final(FINALS[2])
    assert (progress.finals, progress.errors) == (3, 0)


def test_a_final_out_of_place_is_none_of_the_reference():
    progress = _ChannelProgress(ChannelReference(finals=FINALS))
    assert not progress.accepts_final(FINALS[1])
    progress.errors += 1
    assert not progress.accepts_final(FINALS[2])
    assert progress.accepts_final(FINALS[1])
    assert not progress.accepts_final(FINALS[1])
