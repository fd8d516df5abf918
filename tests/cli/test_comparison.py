"""Detected utterances are paired with the true ones, and differences are found."""

from __future__ import annotations

import pytest

from voxgate.cli.comparison import Detected, collect_detected, compare
from voxgate.protocol.events import Active, Inactive
from voxgate.recordings import Utterance

TRUTH = ((Utterance(1.0, 2.0, "one", "a"), Utterance(3.0, 4.0, "two", "b")), (Utterance(1.5, 2.5, "three", "c"),))


def test_compare_pairs_by_overlap_and_channel() -> None:
    detected = [Detected(1, 1.52, 2.55), Detected(0, 3.0, 4.0), Detected(0, 1.01, 2.03)]
    comparison = compare(detected, TRUTH)
    assert [(one.channel, said.text) for one, said in comparison.pairs] == [(0, "one"), (1, "three"), (0, "two")]
    assert comparison.largest_difference_s == pytest.approx(0.05)
    assert comparison.agrees


@pytest.mark.parametrize(
    ("detected", "n_missed", "n_extra"),
    [
        ([], 3, 0),
        ([Detected(0, 1.0, 4.0), Detected(1, 1.5, 2.5)], 1, 0),  # two utterances detected as one
        ([Detected(0, 1, 2), Detected(0, 3, 4), Detected(1, 1.5, 2.5), Detected(0, 5, 6)], 0, 1),
        (
            [Detected(0, 1, 2), Detected(0, 3, 3.4), Detected(0, 3.5, 4), Detected(1, 1.5, 2.5)],
            0,
            1,
        ),  # one detected as two
        ([Detected(0, 1, 2), Detected(0, 3, 4), Detected(2, 1.5, 2.5)], 1, 1),
    ],
)
def test_compare_finds_what_is_missed_and_what_nobody_said(
    detected: list[Detected], n_missed: int, n_extra: int
) -> None:
    comparison = compare(detected, TRUTH)
    assert (len(comparison.missed), len(comparison.extra)) == (n_missed, n_extra)
    assert not comparison.agrees


def test_compare_wants_100_ms() -> None:
    others = [Detected(0, 3, 4), Detected(1, 1.5, 2.5)]
    assert compare([Detected(0, 1.09, 2.0), *others], TRUTH).agrees
    assert not compare([Detected(0, 1.0, 1.89), *others], TRUTH).agrees


def test_an_utterance_lasts_from_active_to_inactive() -> None:
    events = [Active(1.0, 0), Active(1.5, 1), Inactive(2.0, 0), Inactive(2.0, 2), Inactive(3.0, 1), Active(4.0, 0)]
    assert collect_detected(events) == [Detected(0, 1.0, 2.0), Detected(1, 1.5, 3.0)]
