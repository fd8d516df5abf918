"""``GET /v3/ws`` on a real socket: what AssemblyAI's clients send, and what they get."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.wire import Client, bursts, encode, of_type, pieces, refused, start, stream
from helpers.wires import TALK, failing, words_of_length
from voxgate.endpoints.assemblyai.live import AssemblyAiWire
from voxgate.endpoints.assemblyai.query import parse_streaming
from voxgate.errors import InvalidMessage
from voxgate.protocol.events import Error, Flushed, Segment
from voxgate.protocol.machine import no_options
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Flush

TERMINATE = {"type": "Terminate"}
FORCE = {"type": "ForceEndpoint"}


def url(server, query: str = "sample_rate=16000") -> str:
    return f"ws://127.0.0.1:{server.port}/v3/ws?{query}"


def test_a_session(serve):
    server = serve(words_of_length, **{"vad.interim_interval_ms": 60_000, "limits.session_s": 1000})
    before_s = int(time.time())
    with Client(url(server)) as client:
        client.send({"type": "KeepAlive"}, *pieces(TALK, 640), {"type": "UpdateConfiguration", "x": 1}, TERMINATE)
        begin, *turns, termination = client.rest()
        assert client.close_code == 1000
    assert begin["type"] == "Begin"
    assert before_s + 1000 <= begin["expires_at"] <= int(time.time()) + 1000
    assert isinstance(begin["expires_at"], int)
    native = of_type(stream(server.url(), start(), *pieces(TALK, 640)), "segment")
    assert len(turns) == len(native) == 2
    for order, (turn, event) in enumerate(zip(turns, native, strict=True)):
        begin_ms = round(event["start_time"] * 1000)
        words = [
            {"text": word["word"], "start": start_ms, "end": end_ms, "confidence": 0.5, "word_is_final": True}
            for word, (start_ms, end_ms) in zip(
                event["words"], [(begin_ms + 100, begin_ms + 200), (begin_ms + 200, begin_ms + 300)], strict=True
            )
        ]
        assert turn == {
            "type": "Turn",
            "turn_order": order,
            "turn_is_formatted": True,
            "end_of_turn": True,
            "transcript": event["text"],
            "end_of_turn_confidence": 1.0,
            "words": words,
        }
    assert termination == {"type": "Termination", "audio_duration_seconds": 6, "session_duration_seconds": 0}


def test_a_turn_detector_gives_the_confidence(serve):
    server = serve(words_of_length, **{"turn.detector": "helpers.judges:LongEnough", "turn.deadline_ms": 10_000})
    audio = encode(bursts((0.5, 2.5), length_s=4.0))
    with Client(url(server, "sample_rate=16000&end_of_turn_confidence_threshold=0.7")) as client:
        client.send(*pieces(audio, 640), TERMINATE)
        turns = of_type(client.rest(), "Turn")
    assert [turn["end_of_turn_confidence"] for turn in turns if turn["end_of_turn"]] == [0.75]


def test_interims_are_turns_that_go_on(serve):
    audio = encode(bursts((0.5, 2.5), length_s=4.5))
    with Client(url(serve(words_of_length))) as client:
        turns = []
        for index, piece in enumerate(pieces(audio, 16_000)):
            client.send(piece)
            if index in (3, 5):
                turns += of_type(client.until("Turn"), "Turn")
        client.send(TERMINATE)
        turns += of_type(client.rest(), "Turn")
    assert {turn["turn_order"] for turn in turns} == {0}
    flags = [(turn["end_of_turn"], turn["turn_is_formatted"], turn["end_of_turn_confidence"]) for turn in turns]
    assert flags[-1] == (True, True, 1.0)
    assert set(flags[:-1]) == {(False, False, 0.0)}
    assert [word["word_is_final"] for turn in turns for word in turn["words"]] == [
        turn["end_of_turn"] for turn in turns for _ in turn["words"]
    ]


def test_a_forced_endpoint(serve):
    with Client(url(serve(words_of_length, **{"vad.interim_interval_ms": 60_000}))) as client:
        client.send(FORCE, *pieces(TALK[: 2 * 16_000 * 3 // 2], 640), FORCE)
        assert [answer["type"] for answer in client.until("Turn")] == ["Begin", "Turn"]
        client.send(TERMINATE)
        assert [answer["type"] for answer in client.rest()] == ["Termination"]


def test_a_forced_endpoint_ends_all_turns_whose_final_is_missing():
    """Otherwise a client would take the first of them for its answer."""
    wire = AssemblyAiWire(parse_streaming(b"sample_rate=16000", min_silence_ms=300), "id", 10.0, no_options)

    def final(number: int, text: str) -> list[dict[str, Any]]:
        said = Output.of({"text": text, "words": [{"word": text, "start": 0.0, "end": 0.5}]})
        return list(map(json.loads, wire.encode(Segment(2.0 * number, 2.0 * number + 1, True, said, 0, number))))

    assert [turn["transcript"] for turn in final(0, "a")] == ["a"]
    assert wire.read(json.dumps(FORCE)) == (Flush(),)
    (interim,) = wire.encode(Segment(4.0, 5.0, False, Output.of({"text": "x"}), 0, 2))
    assert not json.loads(interim)["end_of_turn"]
    assert final(1, "b") == []
    (warning,) = wire.encode(Error("failed", "inference_failed", 0, 2))
    assert json.loads(warning)["type"] == "Warning"
    assert final(3, "c") == []
    (turn,) = map(json.loads, wire.encode(Flushed()))
    assert (turn["transcript"], turn["turn_order"], turn["end_of_turn"]) == ("b c", 3, True)
    assert [(word["text"], word["start"]) for word in turn["words"]] == [("b", 2000), ("c", 6000)]
    assert [turn["transcript"] for turn in final(4, "d")] == ["d"]
    wire.read(json.dumps(FORCE))
    assert wire.encode(Flushed()) == ()


def test_models_that_announce_speech(serve):
    server = serve(words_of_length, **{"vad.interim_interval_ms": 60_000})
    with Client(url(server, "sample_rate=16000&speech_model=universal-3-6-pro")) as client:
        client.send(*pieces(TALK, 640), TERMINATE)
        answers = client.rest()
    started = of_type(answers, "SpeechStarted")
    assert len(started) == len(of_type(answers, "Turn")) == 2
    assert all(isinstance(event["timestamp"], int) for event in started)


def test_a_failed_utterance_is_a_warning_and_an_empty_turn(serve):
    with Client(url(serve(failing, **{"inference.warm_up": False}))) as client:
        client.send(*pieces(TALK, 640), TERMINATE)
        _, *answers, _ = client.rest()
    assert [answer["type"] for answer in answers] == ["Warning", "Turn"] * 2
    assert answers[0]["warning"] == "inference_failed: not this one"
    assert (answers[3]["turn_order"], answers[3]["transcript"], answers[3]["words"]) == (1, "", [])


def test_an_update_of_the_silence_takes_effect_and_the_times_and_turns_go_on(serve):
    """Both bursts are one turn of the longer silence."""
    server = serve(words_of_length, **{"vad.interim_interval_ms": 60_000})
    query = "sample_rate=16000&max_turn_silence=1000&speech_model=u3-rt-pro"
    pause = encode(bursts((0.5, 1.5), (2.3, 3.0), length_s=5.0))
    with Client(url(server, query)) as client:
        client.send(*pieces(pause, 640), {"type": "UpdateConfiguration", "max_turn_silence": 300})
        client.send(*pieces(pause, 640), {"type": "UpdateConfiguration", "max_turn_silence": 300}, TERMINATE)
        answers = client.rest()
    turns, spoken = of_type(answers, "Turn"), of_type(answers, "SpeechStarted")
    assert [turn["turn_order"] for turn in turns] == [0, 1, 2]
    seconds = [turn["words"][0]["start"] / 1000 for turn in turns]
    np.testing.assert_allclose(seconds, [0.1, 5.1, 6.8], atol=0.15)  # with the padding before them
    np.testing.assert_allclose([event["timestamp"] / 1000 for event in spoken], [0.0, 5.0, 6.7], atol=0.15)
    assert answers[-1]["audio_duration_seconds"] == 10


def test_a_new_session_goes_on_in_the_middle_of_a_sample(serve):
    server = serve(lambda audio: {"text": f"peak {abs(audio).max():.2f}"})

    def transcripts(cut: int) -> list[str]:
        with Client(url(server)) as client:
            client.send(TALK[:cut], {"type": "UpdateConfiguration", "max_turn_silence": 900}, TALK[cut:], TERMINATE)
            return [turn["transcript"] for turn in of_type(client.rest(), "Turn") if turn["end_of_turn"]]

    assert transcripts(16_001) == transcripts(16_000) != []


def test_an_update_that_cannot_be_served_is_a_warning(serve):
    with Client(url(serve(words_of_length))) as client:
        client.send({"type": "UpdateConfiguration", "max_turn_silence": "long"}, *pieces(TALK, 640), TERMINATE)
        answers = client.rest()
    (warning,) = of_type(answers, "Warning")
    assert warning["warning"] == 'invalid_message: max_turn_silence: expected a number of ms, got "long"'
    assert len({turn["turn_order"] for turn in of_type(answers, "Turn")}) == 2


def test_messages_that_nobody_means(serve):
    with Client(url(serve(words_of_length, **{"limits.invalid_messages": 2}))) as client:
        client.send("{", {"type": "Nonsense"})
        _, *answers = client.rest()
        assert client.close_code == 1008
    assert [answer["type"] for answer in answers] == ["Warning", "Warning"]


def test_a_client_that_is_silent(serve):
    with Client(url(serve(words_of_length, **{"limits.idle_timeout_s": 0.1}))) as client:
        _, error = client.rest()
        assert client.close_code == 1008
    assert error == {"type": "Error", "error_code": 1008, "error": "no message within 0.1 s"}


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"additional_headers": {"Authorization": "good"}}),
        ("", {"additional_headers": {"Authorization": "Bearer good"}}),
        ("&token=good", {}),
    ],
)
def test_keys(serve, query, options):
    server = serve(words_of_length, **{"auth.tokens": "good"})
    with Client(url(server, "sample_rate=16000" + query), **options) as client:
        client.send(TERMINATE)
        assert [answer["type"] for answer in client.rest()] == ["Begin", "Termination"]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("", {"additional_headers": {"Authorization": "bad"}}),
        ("", {"additional_headers": {"Authorization": "Token good"}}),
        ("&token=good&token=good", {}),
    ],
)
def test_wrong_keys(serve, query, options):
    server = serve(words_of_length, **{"auth.tokens": "good"})
    status, _, body = refused(url(server, "sample_rate=16000" + query), **options)
    assert (status, sorted(body)) == (401, ["error", "id"])


def test_a_full_server_says_come_back(serve):
    server = serve(words_of_length, **{"limits.streams_per_address": 1})
    with Client(server.url()):
        status, headers, _ = refused(url(server))
    assert status == 503
    assert 4 <= int(headers["retry-after"]) <= 9


def test_it_can_be_switched_off(serve):
    assert refused(url(serve(words_of_length, **{"endpoints.assemblyai": False})))[0] == 404


@given(st.text() | st.dictionaries(st.sampled_from(["type", "x"]), st.text() | st.integers()).map(json.dumps))
def test_any_text_is_read_or_refused(text):
    wire = AssemblyAiWire(parse_streaming(b"sample_rate=16000", min_silence_ms=300), "id", 10.0, no_options)
    with contextlib.suppress(InvalidMessage):
        assert len(wire.read(text)) == 1
