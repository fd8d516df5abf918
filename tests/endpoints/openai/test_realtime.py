"""OpenAI's Realtime API on a real socket."""

from __future__ import annotations

import base64
import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.wire import Client, bursts, encode, of_type, pieces, refused, start, story, stream
from helpers.wires import TALK, failing_first, words_of_length
from voxgate import Model

COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
FAILED = "conversation.item.input_audio_transcription.failed"
COMMIT = {"type": "input_audio_buffer.commit"}
CLEAR = {"type": "input_audio_buffer.clear"}
SPEECH = encode(bursts((0.0, 1.0), length_s=1.0))


def url(server):
    return f"ws://127.0.0.1:{server.port}/v1/realtime?intent=transcription"


def append(data):
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()}


def update(rate=16_000, **fields):
    audio_input = {"format": {"type": "audio/pcm", "rate": rate}, **fields}
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio_input}}}


MANUAL = update(turn_detection=None)


def said(server, *messages, until=COMPLETED, n=1):
    """What comes after session.created, up to and with the n-th `until`."""
    with Client(url(server)) as client:
        client.send(*messages)
        events = []
        for _ in range(n):
            events += client.until(until)
    assert events[0]["type"] == "session.created"
    return events[1:]


def kinds(events):
    return [event["type"].removeprefix("conversation.item.").removeprefix("input_audio_buffer.") for event in events]


def test_server_vad(serve):
    server = serve(words_of_length)
    native = story(stream(server.url(), start(), TALK))
    events = said(server, update(), *map(append, pieces(TALK, 6400)), n=2)
    assert events[0]["type"] == "session.updated"
    begun, ended, committed, completed = (
        of_type(events, f"input_audio_buffer.{name}") if "." not in name else of_type(events, name)
        for name in ("speech_started", "speech_stopped", "committed", COMPLETED)
    )
    ids = [event["item_id"] for event in begun]
    assert len(set(ids)) == 2
    for group in (ended, committed, completed):
        assert [event["item_id"] for event in group] == ids
    assert [event["previous_item_id"] for event in committed] == [None, ids[0]]
    spoken = of_type(native, "segment")
    assert [event["transcript"] for event in completed] == [segment["text"] for segment in spoken]
    assert [event["audio_start_ms"] for event in begun] == [round(1000 * event["start_time"]) for event in spoken]
    assert [event["audio_end_ms"] for event in ended] == [round(1000 * event["end_time"]) for event in spoken]
    assert [event["usage"]["type"] for event in completed] == ["duration"] * 2
    assert completed[0]["usage"]["seconds"] == pytest.approx(spoken[0]["end_time"] - spoken[0]["start_time"], abs=0.002)
    assert [event["event_id"] for event in events] == [f"event_{number}" for number in range(2, len(events) + 2)]


def test_cuts_are_invisible(serve):
    server = serve(words_of_length)

    def told(sizes):
        messages, at = [], 0
        for size in itertools.cycle(sizes):
            if at >= len(TALK):
                break
            messages.append(append(TALK[at : at + size]))
            at += size
        events = said(server, update(), *messages, n=2)
        hidden = ("event_id", "item_id", "previous_item_id")
        final = [event for event in events if event["type"] not in (DELTA, "session.updated")]
        return sorted(json.dumps({k: v for k, v in event.items() if k not in hidden}) for event in final)

    expected = told([len(TALK)])

    @settings(max_examples=8)
    @given(st.lists(st.integers(100, 50_000), min_size=1, max_size=10))
    def check(sizes):
        assert told(sizes) == expected

    check()


def test_deltas_are_appended_and_completed_decides(serve):
    server = serve(lambda audio: {"text": " ".join(map(str, range(len(audio) // 4000)))})
    events = said(server, update(), *map(append, pieces(TALK, 3200)), n=2)
    for completed in of_type(events, COMPLETED):
        deltas = [event["delta"] for event in of_type(events, DELTA) if event["item_id"] == completed["item_id"]]
        assert "".join(deltas) == completed["transcript"]


def test_interims_that_are_revised(serve):
    """What was agreed on is never taken back, whatever the final says."""
    texts = itertools.cycle(["a b c d", "a b c e", "x y", "a b"])
    events = said(serve(lambda audio: {"text": next(texts)}), update(), *map(append, pieces(TALK, 3200)), n=2)
    for completed in of_type(events, COMPLETED):
        deltas = [event["delta"] for event in of_type(events, DELTA) if event["item_id"] == completed["item_id"]]
        assert re.fullmatch(r"(a( b( c( [de])?)?)?|x y)?", "".join(deltas))


def test_nothing_is_cut_until_a_commit(serve):
    events = said(serve(words_of_length), MANUAL, append(TALK), COMMIT, append(SPEECH), COMMIT, n=2)
    assert [event["transcript"] for event in of_type(events, COMPLETED)] == ["Some 6000 words.", "Some 1000 words."]
    assert not [kind for kind in kinds(events) if kind.startswith("speech_")]
    committed = of_type(events, "input_audio_buffer.committed")
    assert [event["item_id"] for event in committed] == [event["item_id"] for event in of_type(events, COMPLETED)]


def test_a_segment_that_reaches_its_longest_is_cut_and_both_are_committed(serve):
    server = serve(words_of_length, **{"vad.max_segment_s": 4})
    events = said(server, MANUAL, append(TALK), COMMIT, n=2)
    assert [event["transcript"] for event in of_type(events, COMPLETED)] == ["Some 4000 words.", "Some 2000 words."]
    assert len(of_type(events, "input_audio_buffer.committed")) == 2
    assert of_type(events, "error") == []


def test_a_clear_drops_what_is_not_committed(serve):
    events = said(serve(words_of_length), MANUAL, append(TALK), CLEAR, append(SPEECH), COMMIT)
    assert [event["transcript"] for event in of_type(events, COMPLETED)] == ["Some 1000 words."]
    assert len(of_type(events, "input_audio_buffer.committed")) == 1
    assert len(of_type(events, "input_audio_buffer.cleared")) == 1


def test_a_clear_within_speech(serve):
    events = said(serve(words_of_length), update(), append(TALK[:48_000]), CLEAR, append(TALK))
    committed = of_type(events, "input_audio_buffer.committed")
    begun = of_type(events, "input_audio_buffer.speech_started")
    assert len(begun) >= 2
    assert begun[0]["item_id"] not in [event["item_id"] for event in committed]


def test_a_commit_of_nothing(serve):
    server = serve(words_of_length)
    (error,) = of_type(said(server, MANUAL, {**COMMIT, "event_id": "mine"}, until="error"), "error")
    assert (error["error"]["code"], error["error"]["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    # Where the server cuts, its own cut may have come first: the commit is answered all the same.
    events = said(server, update(), append(bytes(32_000)), COMMIT)
    assert kinds(events)[1:] == ["committed", "input_audio_transcription.completed"]
    assert events[-1]["transcript"] == ""


def test_an_empty_commit_completes_behind_the_finals_before_it(serve):
    events = said(serve(words_of_length), update(), append(TALK), COMMIT, n=3)
    assert [event["transcript"] != "" for event in of_type(events, COMPLETED)] == [True, True, False]


def test_a_new_format_in_the_middle_goes_on_with_the_times(serve):
    slow = encode(bursts((1.0, 2.0), (3.5, 4.25), length_s=6.0, rate=8000))
    events = said(
        *(serve(words_of_length), update(), append(TALK)),
        *(update(8000), append(slow)),
        n=4,
    )
    begun = [event["audio_start_ms"] for event in of_type(events, "input_audio_buffer.speech_started")]
    assert len(begun) == 4
    assert begun[2] - begun[0] == pytest.approx(6000, abs=50)
    assert len({event["item_id"] for event in of_type(events, COMPLETED)}) == 4


def test_a_new_session_goes_on_in_the_middle_of_a_sample(serve):
    """A client may cut its audio anywhere; an update of anything but the format is no new audio."""
    server = serve(lambda audio: {"text": f"{round(32_768 * float(abs(audio).max()))}"})
    quiet = b"\x20\x00" * 3200
    for cut in (3200, 3201):
        events = said(server, update(), append(quiet[:cut]), MANUAL, append(quiet[cut:]), COMMIT)
        assert [event["transcript"] for event in of_type(events, COMPLETED)] == ["32"]


def test_an_update_that_changes_nothing_for_the_audio_cuts_nothing(serve):
    plain = update()
    named = update(transcription={"model": "gpt-4o-transcribe"})
    events = said(serve(words_of_length), plain, append(TALK[:48_000]), named, append(TALK[48_000:]), n=2)
    assert len(of_type(events, "session.updated")) == 2
    assert len(of_type(events, COMPLETED)) == 2


def test_the_names_of_the_beta(serve):
    message = {
        "type": "transcription_session.update",
        "session": {"input_audio_format": "g711_ulaw", "turn_detection": None},
    }
    events = said(serve(words_of_length), message, append(b"\xff" * 8000), COMMIT)
    assert events[0]["type"] == "transcription_session.updated"
    assert events[0]["session"]["input_audio_format"] == "g711_ulaw"
    assert 990 <= int(events[-1]["transcript"].split()[1]) <= 1000  # the resampler holds some milliseconds back


def test_one_bad_utterance_fails_alone(serve):
    server = serve(failing_first(), **{"inference.warm_up": False})
    with Client(url(server)) as client:
        client.send(MANUAL, append(bytes(1000)), COMMIT)
        failed = client.until(FAILED)[-1]
        assert (failed["error"]["code"], failed["error"]["message"]) == ("inference_failed", "not this one")
        client.send(append(SPEECH), COMMIT)
        completed = client.until(COMPLETED)[-1]
    assert completed["transcript"] == "Some 1000 words."
    assert completed["item_id"] != failed["item_id"]


def test_errors_name_the_message_and_the_stream_goes_on(serve):
    with Client(url(serve(words_of_length))) as client:
        client.send({"type": "response.create", "event_id": "mine"}, update(3))
        first, second = (client.until("error")[-1]["error"] for _ in range(2))
        assert (first["type"], first["param"], first["event_id"]) == ("invalid_request_error", "type", "mine")
        assert (second["param"], second["message"]) == (
            "session.audio.input",
            "format.sample_rate must be 4000..192000 Hz, got 3",
        )
        client.send(MANUAL, append(SPEECH), COMMIT)
        assert client.until(COMPLETED)[-1]["transcript"] == "Some 1000 words."


def test_too_many_errors_end_the_stream(serve):
    with Client(url(serve(words_of_length, **{"limits.invalid_messages": 3}))) as client:
        client.send(*['{"type":"x"}'] * 3)
        assert kinds(client.rest()) == ["session.created", *["error"] * 3]
        assert client.close_code == 1008


@pytest.mark.parametrize(
    "options",
    [
        {"additional_headers": {"Authorization": "Bearer good"}},
        {"subprotocols": ["realtime", "openai-insecure-api-key.good", "openai-beta.realtime-v1"]},
    ],
)
def test_credentials(serve, options):
    server = serve(words_of_length, **{"auth.tokens": "good"})
    with Client(url(server), **options) as client:
        assert client.receive()["type"] == "session.created"
        assert client.socket.subprotocol == ("realtime" if "subprotocols" in options else None)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"additional_headers": {"Authorization": "Bearer bad"}},
        {"subprotocols": ["realtime", "openai-insecure-api-key.bad"]},
        {"subprotocols": ["realtime", "openai-insecure-api-key.good", "openai-insecure-api-key.good"]},
    ],
)
def test_wrong_credentials(serve, options):
    status, _, body = refused(url(serve(words_of_length, **{"auth.tokens": "good"})), **options)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")


def test_a_full_server(serve):
    server = serve(words_of_length, **{"limits.streams_per_address": 1})
    with Client(url(server)):
        status, headers, body = refused(url(server))
    assert (status, body["error"]["type"]) == (503, "server_error")
    assert int(headers["retry-after"]) > 0


def test_a_model_without_words(serve):
    class Numbers(Model):
        gives_text = False

        def infer(self, audio):
            return {"n": len(audio)}

    server = serve(Numbers())
    if getattr(server.service, "gives_text", None) is not False:
        pytest.skip("the service does not know yet whether its model gives a text")
    status, _, body = refused(url(server))
    assert (status, body["error"]["code"]) == (400, "not_served")


def test_it_can_be_switched_off(serve):
    assert refused(url(serve(words_of_length, **{"endpoints.openai": False})))[0] == 404


def test_a_message_of_the_greatest_length_holds_no_other_stream_back(serve):
    """16 s of audio in one message are taken in pieces of a second, and others have their turn in between."""
    server = serve(words_of_length)
    with Client(url(server)) as client, Client(server.url()) as other:
        client.send(MANUAL)
        client.until("session.updated")
        client.send(append(bytes(512_000)))
        other.send(start(), SPEECH, {"request": "stop", "disconnect": True})
        assert len(of_type(other.rest(), "segment")) == 1
        client.send(COMMIT)
        assert client.until(COMPLETED)[-1]["transcript"] == "Some 16000 words."
