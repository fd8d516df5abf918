"""The timeline of the page pairs each answer with its utterance, in whatever order the events come."""

from __future__ import annotations

from typing import Any

import pytest

RECEIVE = """
async (events) => {
  const { Timeline } = await import("/web/timeline.js");
  const session = new Timeline().open("segmented", 16000, 1, "test");
  session.addAudio(new Int16Array(16000 * 10));
  events.forEach((event, index) => session.receive({ channel: 0, ...event }, 1000 * index));
  const n_lost = session.close().length;
  return [session.entries[0].map((one) => [one.start_s, one.end_s, one.state, one.output?.text ?? one.error]), n_lost];
}
"""


SETTLED = """
async (events) => {
  const { Timeline } = await import("/web/timeline.js");
  const { factsOf, splitStable, textOf } = await import("/web/format.js");
  const session = new Timeline().open("segmented", 16000, 1, "test");
  session.addAudio(new Int16Array(16000 * 10));
  return events.map((event) => {
    session.receive({ channel: 0, ...event }, 0);
    const one = session.entries[0].at(-1);
    const facts = factsOf(one.output).length;
    return [...splitStable(textOf(one.output) ?? "", one.stable), one.isEager ? facts + 100 : facts];
  });
}
"""


def active(time: float, id: int) -> dict[str, Any]:
    return {"type": "active", "time": time, "segment_id": id}


def inactive(time: float, id: int) -> dict[str, Any]:
    return {"type": "inactive", "time": time, "segment_id": id}


def segment(start_s: float, end_s: float, id: int, text: str, is_final: bool = True) -> dict[str, Any]:
    times = {"start_time": start_s, "end_time": end_s}
    return {"type": "segment", **times, "is_final": is_final, "text": text, "segment_id": id}


def error(id: int | None) -> dict[str, Any]:
    about = {} if id is None else {"segment_id": id}
    return {"type": "error", "message": "no", "code": "inference_failed", **about}


CASES: dict[str, tuple[list[dict[str, Any]], list[list[Any]]]] = {
    "a final after the next active": (
        [active(0, 0), inactive(1, 0), active(2, 1), segment(0, 1, 0, "a"), inactive(3, 1), segment(2, 3, 1, "b")],
        [[0, 1, "final", "a"], [2, 3, "final", "b"]],
    ),
    "a cut while speech goes on": (
        [active(0, 0), segment(0, 2, 0, "a"), inactive(3, 1), segment(2, 3, 1, "b")],
        [[0, 2, "final", "a"], [2, 3, "final", "b"]],
    ),
    "cuts that are answered when speech is over": (
        [
            *[active(0, 0), inactive(5, 2), active(6, 3), segment(0, 2, 0, "a"), segment(2, 4, 1, "b")],
            *[segment(4, 5, 2, "c"), inactive(7, 3), segment(6, 7, 3, "d")],
        ],
        [[0, 2, "final", "a"], [2, 4, "final", "b"], [4, 5, "final", "c"], [6, 7, "final", "d"]],
    ),
    "an error in the place of a cut": (
        [active(0, 0), error(0), segment(2, 3, 1, "so far", False), inactive(4, 1), segment(2, 4, 1, "b")],
        [[0, 2, "failed", "no"], [2, 4, "final", "b"]],
    ),
    "an error in the place of a cut when speech is over": (
        [active(0, 0), inactive(3, 1), active(4, 2), error(0), segment(2, 3, 1, "b"), inactive(5, 2), error(2)],
        [[0, 2, "failed", "no"], [2, 3, "final", "b"], [4, 5, "failed", "no"]],
    ),
    "an error about nothing of this": (
        [active(0, 0), inactive(1, 0), error(None), segment(0, 1, 0, "a")],
        [[0, 1, "final", "a"]],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_answers_find_their_utterance_by_number(serve, visit, name):
    check(visit(serve()), *CASES[name])


@pytest.mark.parametrize("name", [name for name in CASES if "error" not in name])
def test_answers_find_their_utterance_by_time(serve, visit, name):
    """A server of an earlier version gives no numbers."""
    events, expected = CASES[name]
    events = [{key: value for key, value in event.items() if key != "segment_id"} for event in events]
    check(visit(serve()), events, expected)


def check(page: Any, events: list[dict[str, Any]], expected: list[list[Any]]) -> None:
    entries, n_lost = page.evaluate(RECEIVE, events)
    assert entries == expected
    assert n_lost == 0


def test_the_words_that_have_settled_are_set_apart_until_the_final(serve, visit):
    def interim(text: str, stable_text: str | None = None) -> dict[str, Any]:
        event = segment(0, 1, 0, text, False)
        return event if stable_text is None else {**event, "stable_text": stable_text}

    told = visit(serve()).evaluate(
        SETTLED,
        [
            active(0, 0),
            interim("good mourning", ""),
            interim("good  morning every", "good morning"),
            interim("good evening", "good morning"),
            interim("早上好 every", "早上好"),
            interim("an earlier server"),
            {**interim("an early result"), "eager": True},
            {"type": "resumed", "time": 1.5, "segment_id": 0},
            inactive(2, 0),
            {**segment(0, 2, 0, "Good morning."), "stable_text": "good"},
        ],
    )
    assert told == [
        ["", "", 0],
        ["", "good mourning", 0],
        ["good  morning", " every", 0],
        ["", "good evening", 0],
        ["早上好", " every", 0],
        ["", "an earlier server", 0],
        ["", "an early result", 100],
        ["", "an early result", 0],
        ["", "an early result", 0],
        ["", "Good morning.", 0],
    ]


RESUMED = """
async ([before, at_s, after]) => {
  const { Timeline } = await import("/web/timeline.js");
  const session = new Timeline().open("segmented", 16000, 1, "test");
  session.addAudio(new Int16Array(16000 * 10));
  const receive = (events) => events.forEach((event) => session.receive({ channel: 0, ...event }, 0));
  receive(before);
  const changed = session.resume(at_s).map((one) => [one.start_s, one.state]);
  receive(after);
  const values = new Int16Array(2);
  const track = session.probabilities[0];
  return {
    changed,
    entries: session.entries[0].map((one) => [one.start_s, one.end_s, one.state]),
    probabilities: [0, 1, 2, 3].map((at) => track.range(at, at + 1, values) && Math.round(values[0] / 3276.7) / 10),
  };
}
"""


def test_after_a_lost_connection_what_is_announced_again_stands_once(serve, visit):
    def probabilities(start_s: float, *values: float) -> dict[str, Any]:
        return {"type": "probabilities", "start_time": start_s, "step_s": 1.0, "values": values}

    before = [
        *[active(0, 0), inactive(1, 0), segment(0, 1, 0, "a"), active(1.5, 1), inactive(1.8, 1)],
        *[active(2, 2), probabilities(0, 0.1, 0.2, 0.3)],
    ]
    after = [active(2, 3), probabilities(2, 0.9, 0.4), inactive(4, 3), segment(2, 4, 3, "b")]
    assert visit(serve()).evaluate(RESUMED, [before, 1.9, after]) == {
        "changed": [[1.5, "lost"], [2, "void"]],
        "entries": [[0, 1, "final"], [1.5, 1.8, "lost"], [2, 4, "final"]],
        "probabilities": [0.1, 0.2, 0.3, 0.4],
    }
