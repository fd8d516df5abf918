"""`wakeword`: the real networks on synthetic voices, which tools/make_wakewords.py made."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pymicro_wakeword", reason="it is optional: pip install 'voxgate[wakeword]'")

from helpers.wire import STOP, Client, encode, pieces, start, stream
from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.errors import ModelLoadError
from voxgate.models import load_model
from voxgate.models.base import Samples
from voxgate.models.request import Request
from voxgate.models.wakeword import WORDS, WakeWord
from voxgate.testing import serving

RATE = 16_000
SAID, _ = soundfile.read(Path(__file__).parents[1] / "data" / "wakewords.flac", dtype="float32")
ENDS_S = {"okay_nabu": 1.36, "hey_jarvis": 3.89, "hey_mycroft": 6.36, "alexa": 8.54}
"""When the last sound of each word ends."""


def found(model: WakeWord, pieces: list[Samples], start_s: float = 0.0) -> list[dict[str, Any]]:
    """All detections, whatever calls they came from."""
    state = model.open(Request(start_s=start_s, end_s=start_s))
    answers = []
    for piece in pieces:
        answer = model.step(piece.copy(), state)
        if answer is not None:
            first = dict(answer)
            answers += [first, *first.pop("more", [])]
    assert model.finish(state) is None
    return answers


@pytest.fixture(scope="module")
def model() -> WakeWord:
    return WakeWord()


@pytest.fixture(scope="module")
def whole(model: WakeWord) -> list[dict[str, Any]]:
    return found(model, [SAID])


def test_each_word_is_recognised_once_and_soon(whole: list[dict[str, Any]]) -> None:
    assert [one["wakeword"] for one in whole] == list(ENDS_S)
    for one in whole:
        assert 0 < one["time"] - ENDS_S[one["wakeword"]] < 0.9
        assert 0.85 < one["score"] <= 1
        assert list(one) == ["wakeword", "time", "score"]


def test_a_call_answers_only_when_a_word_was_said(model: WakeWord) -> None:
    state = model.open(Request())
    answers = [model.step(SAID[begin : begin + RATE].copy(), state) for begin in range(0, len(SAID), RATE)]
    assert [second for second, answer in enumerate(answers) if answer is not None] == [1, 4, 7, 8]
    assert all(answer is None or "more" not in answer for answer in answers)


@pytest.mark.parametrize("size", [1, 159, 160, 161, 319, 480, 1000, 4801, 70_000])
def test_how_the_audio_is_cut_changes_nothing(model: WakeWord, whole: list[dict[str, Any]], size: int) -> None:
    audio, expected = SAID, whole
    if size == 1:
        audio = SAID[: 2 * RATE]
        expected = whole[:1]
    assert found(model, [audio[at : at + size] for at in range(0, len(audio), size)]) == expected


@settings(max_examples=20)
@given(st.lists(st.integers(0, len(SAID)), max_size=30))
def test_cuts_anywhere(model: WakeWord, whole: list[dict[str, Any]], cuts: list[int]) -> None:
    assert found(model, np.split(SAID, sorted(cuts))) == whole


def test_times_count_from_the_start_of_the_session(model: WakeWord, whole: list[dict[str, Any]]) -> None:
    """A state that is opened later (a lost worker, for example) goes on where the first one ended."""
    assert [one["time"] for one in found(model, [SAID], start_s=100.25)] == [
        pytest.approx(one["time"] + 100.25, abs=0.011) for one in whole
    ]


def test_a_word_counts_again_after_the_refractory_time() -> None:
    alexa = SAID[round(7.9 * RATE) : round(9.4 * RATE)]
    twice = [alexa, alexa]
    n_times = {
        refractory_s: len(found(WakeWord(words=["alexa"], refractory_s=refractory_s), twice))
        for refractory_s in (1.0, 2.0)
    }
    assert n_times == {1.0: 2, 2.0: 1}


def test_words_do_not_silence_each_other() -> None:
    """The refractory time is that of one word."""
    model = WakeWord(refractory_s=60)
    assert [one["wakeword"] for one in found(model, [SAID, SAID])] == list(ENDS_S)


def test_only_the_chosen_words(whole: list[dict[str, Any]]) -> None:
    assert found(WakeWord(words=["alexa", "okay_nabu"]), [SAID]) == [whole[0], whole[3]]


def test_the_threshold_replaces_that_of_the_networks(whole: list[dict[str, Any]]) -> None:
    assert found(WakeWord(threshold=1.0), [SAID]) == []
    early = found(WakeWord(threshold=0.5), [SAID])
    assert [one["wakeword"] for one in early] == list(ENDS_S)
    assert all(one["time"] <= other["time"] for one, other in zip(early, whole, strict=True))


@pytest.mark.parametrize("name", ["reading", "demo"])
def test_other_speech_is_no_word(model: WakeWord, name: str) -> None:
    planes, rate = read_audio(recordings.path(name))
    assert rate == RATE
    assert found(model, [planes[0]]) == []


@pytest.mark.parametrize("audio", [np.zeros(0, np.float32), np.zeros(48_000, np.float32), np.ones(48_000, np.float32)])
def test_silence_and_extremes(model: WakeWord, audio: Samples) -> None:
    assert found(model, [audio]) == []


def test_channels_at_once_have_states_of_their_own(model: WakeWord, whole: list[dict[str, Any]]) -> None:
    heard: dict[int, Any] = {}

    def listen(index: int) -> None:
        shifted = SAID[index * RATE * 2 :]
        heard[index] = [one["wakeword"] for one in found(model, np.array_split(shifted, 50))]

    threads = [threading.Thread(target=listen, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {0: list(ENDS_S), 1: list(ENDS_S)[1:], 2: list(ENDS_S)[2:], 3: list(ENDS_S)[3:]}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"words": ["alexa", "computer"]}, "words must be some of alexa, .*, okay_nabu, not 'computer'"),
        ({"words": []}, "words must be some of alexa, .* not none"),
        ({"threshold": 1.5}, "threshold must be within 0..1, not 1.5"),
        ({"refractory_s": -1}, "refractory_s must be within 0..60, not -1"),
        ({"refractory_s": "long"}, "'refractory_s' must be a number"),
    ],
)
def test_wrong_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelLoadError, match=text):
        load_model("wakeword", options)


def test_it_serves_the_stateful_route_alone() -> None:
    model = load_model("wakeword", {"words": ["alexa"]})
    assert (model.stateful, model.stateless, model.sample_rate) == (True, False, RATE)
    assert sorted(WORDS) == sorted(ENDS_S)


def told(events: list[dict[str, Any]]) -> list[tuple[int, str, float, float]]:
    """Channel, word, time and score of all detections. An event without any covers the rest of a channel's audio."""
    found = [event for event in events if "wakeword" in event]
    answers = [(event["channel"], one) for event in found for one in (event, *event.get("more", []))]
    return [(channel, one["wakeword"], one["time"], one["score"]) for channel, one in answers]


def test_served_channels_are_told_apart_and_cuts_change_nothing(whole: list[dict[str, Any]]) -> None:
    late = np.concatenate([np.zeros(RATE, np.float32), SAID])[: len(SAID)]
    audio = encode(np.stack([SAID, late]))
    expected = [(0, one["wakeword"], one["time"], one["score"]) for one in whole]
    with serving("wakeword") as server:
        assert server.service.engine.kind == "threads"
        for size in (len(audio), 4002):
            events = stream(server.url("stateful"), start(channels=2), *pieces(audio, size))
            assert sorted(one for one in told(events) if one[0] == 0) == sorted(expected)
            shifted = [(word, round(time - 1, 2)) for channel, word, time, _ in told(events) if channel == 1]
            assert [word for word, _ in shifted] == list(ENDS_S)
            assert [time for _, time in shifted] == pytest.approx([one["time"] for one in whole], abs=0.031)


@pytest.mark.parametrize("engine", ["threads", "process"])
def test_each_session_counts_from_its_own_start(whole: list[dict[str, Any]], engine: str) -> None:
    settings = {"model.words": ["okay_nabu"], "inference.engine": engine}
    with serving("wakeword", settings) as server, Client(server.url("stateful")) as client:
        for _ in range(2):
            client.send(start(), encode(SAID[: 2 * RATE]), {"request": "stop", "disconnect": False})
        client.send(STOP)
        (first,) = whole[:1]
        assert told(client.rest()) == [(0, first["wakeword"], first["time"], first["score"])] * 2


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pymicro_wakeword", None)
    with pytest.raises(ModelLoadError, match=r"pip install 'voxgate\[wakeword\]'"):
        WakeWord()
