"""Missing and unexpected results are found from the events alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET

from helpers.client_stream import UTTERANCE, run
from helpers.scripted_server import (
    active,
    answering,
    error,
    final,
    inactive,
    interim,
    segment,
)
from voxgate import client
from voxgate.client.check import ResultCheck
from voxgate.protocol.events import Segment
from voxgate.protocol.json_codec import parse_event


def problems(*events: dict[str, Any], sent_s: float = 3.0, channels: int = 1, covering: bool = False) -> list[str]:
    check = ResultCheck(channels, covering)
    for event in events:
        check.receive(parse_event(json.dumps(event)))
    return check.problems(sent_s)


@pytest.mark.parametrize(
    "events",
    [
        (),
        UTTERANCE,
        (active(0.1), interim(0.1, 0.5), inactive(0.6), final(0.1, 0.6)),
        # finals late, behind the next utterance's active and inactive
        (active(0.1), inactive(0.6), active(1.0), inactive(1.5), final(0.1, 0.6), final(1.0, 1.5)),
        # cut at the maximum length
        (active(0.1), final(0.1, 1.1), final(1.1, 2.1), inactive(2.3), final(2.1, 2.3)),
        (active(0.1), inactive(2.3), final(0.1, 1.1), final(1.1, 2.1), final(2.1, 2.3)),
        # the cut ate everything: nothing is left for the end
        (active(0.1), final(0.1, 1.1), inactive(1.1)),
        # utterances that touch
        (active(0.1), inactive(0.6), final(0.1, 0.6), active(0.6), inactive(1.0), final(0.6, 1.0)),
        # rounding at both ends
        (active(0.1), inactive(0.601), final(0.101, 0.6)),
        # errors stand in for results
        (active(0.1), inactive(0.6), error()),
        (active(0.1), inactive(0.6), error(), active(1.0), inactive(1.5), final(1.0, 1.5)),
        (active(0.1), error(), inactive(2.3), final(1.1, 2.3)),
    ],
)
def test_complete_segmented_sessions(events: tuple[dict[str, Any], ...]) -> None:
    assert problems(*events) == []


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ((active(0.1), inactive(0.6)), "no final result for 0.100-0.600 s"),
        ((active(0.1), interim(0.1, 0.6), inactive(0.6)), "no final result for 0.100-0.600 s"),
        ((active(0.1),), "never became inactive"),
        ((active(0.1), active(0.5), inactive(0.6), final(0.1, 0.6)), "active already"),
        ((inactive(0.6),), "without active"),
        ((*UTTERANCE, final(0.1, 0.6)), "second"),
        ((final(0.1, 0.6),), "no active announced"),
        ((*UTTERANCE, active(1.0), inactive(1.5)), "no final result for 1.000-1.500 s"),
        ((active(0.1), inactive(0.6), active(1.0), inactive(1.5), final(1.0, 1.5)), "0.100-0.600 s"),
        ((active(0.1), inactive(2.3), final(0.1, 1.1), final(1.6, 2.3)), "no final result for 1.100-1.600 s"),
        ((active(0.1), final(0.1, 1.1), inactive(2.3)), "no final result for 1.100-2.300 s"),
        ((active(0.1), inactive(0.6), final(0.1, 0.9)), "past inactive"),
        # out of order
        ((active(0.1), inactive(0.6), active(1), inactive(2), final(1, 2), final(0.1, 0.6)), "0.100-0.600 s"),
        # one error stands in for one result, not for two
        ((active(0.1), inactive(0.6), error(), active(1.0), inactive(1.5)), "no final result for 1.000-1.500 s"),
        # and only on its own channel
        ((active(0.1, 1), inactive(0.6, 1), error(channel=0)), "channel 1: no final"),
    ],
)
def test_incomplete_segmented_sessions(events: tuple[dict[str, Any], ...], text: str) -> None:
    found = problems(*events, channels=2)
    assert any(text in line for line in found), found


def test_simple_results_cover_everything() -> None:
    pieces = (segment(0, 1.1), segment(1.1, 2.4), segment(2.4, 3.0))
    assert problems(*pieces, covering=True) == []
    assert problems(covering=True) == ["channel 0: no result for 0.000-3.000 s"]
    assert problems(*pieces[:2], covering=True) == ["channel 0: no result for 2.400-3.000 s"]
    assert problems(pieces[0], pieces[2], covering=True) == ["channel 0: no result for 1.100-2.400 s"]
    assert problems(pieces[0], error(), pieces[2], covering=True) == []
    assert "second result" in problems(*pieces, pieces[2], covering=True)[0]
    assert problems(*pieces, covering=True, channels=2) == ["channel 1: no result for 0.000-3.000 s"]
    assert problems({"type": "data", "count": 3, "channel": 0}, covering=True) == []


def test_stateful_results_may_have_no_length_and_an_error_stands_for_all_before_it() -> None:
    closed = (segment(0, 2.4), segment(2.4, 3.0), segment(3.0, 3.0))
    assert problems(*closed, covering=True) == []
    assert problems(segment(0, 1.1), error(), segment(2.4, 3.0), segment(3.0, 3.0), covering=True) == []
    assert problems(segment(0, 2.4), error(), covering=True) == []


@pytest.mark.parametrize("path", ["/api/v1/simple", "/api/v1/stateful", "/api/v1/stateful/"])
def test_routes_that_answer_all_audio_are_known_by_their_address(path: str) -> None:
    events = run(answering(segment(0, 1.0)), path=path)
    assert events == [Segment(0.0, 1.0, UNSET, {"count": 1})]
    with pytest.raises(client.MissingResults, match=r"0\.500-1\.000"):
        run(answering(segment(0, 0.5)), path=path)


def test_many_problems_are_cut_in_the_text_but_all_there() -> None:
    caught = client.MissingResults([f"p{i}" for i in range(8)])
    assert str(caught).endswith("p4; and 3 more")
    assert len(caught.problems) == 8
