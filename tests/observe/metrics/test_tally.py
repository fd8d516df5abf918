"""The counters of the loop's thread."""

from __future__ import annotations

from voxgate.observe.metrics.tally import LabelCounts, Tally


class Session:
    received_ns, unfinished_ns = 5, 2


def test_a_label_value_that_is_not_known_counts_as_other():
    counts = LabelCounts(("a", "other"))
    counts.add("a")
    counts.add("of a client", 2)
    assert counts == {"a": 1, "other": 2}


def test_the_audio_of_a_session_moves_to_its_route_when_the_session_ends():
    tally, session = Tally(), Session()
    tally.session_began("simple", session)
    audio = tally.audio["simple"]
    assert (audio.sessions, audio.received_ns, audio.abandoned_ns) == ({session}, 0, 0)
    for _ in range(2):  # the second time has no effect
        tally.session_ended("simple", session, 1.5)
        assert (audio.sessions, audio.received_ns, audio.abandoned_ns) == (set(), 5, 2)
        assert (tally.sessions_s["simple"].count, tally.sessions_s["simple"].total) == (1, 1.5)
    assert tally.audio["segmented"].received_ns == 0
