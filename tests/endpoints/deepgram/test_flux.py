"""``GET /v2/listen`` on a real socket: what Flux's clients send, and what they get."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.flux import FluxLaw
from helpers.wire import Client, bursts, encode, of_type, pieces, refused, start, stream
from helpers.wires import TALK, failing, words_of_length
from voxgate import Model
from voxgate.endpoints.deepgram.flux import FluxWire
from voxgate.endpoints.deepgram.flux_query import Silence, parse_flux
from voxgate.errors import InvalidMessage
from voxgate.protocol.closing import Close, CloseReason

RAW = "model=flux-general-en&encoding=linear16&sample_rate=16000"
EAGER = RAW + "&eager_eot_threshold=0.5"
CLOSE = {"type": "CloseStream"}
FORCE = {"type": "ForceEndTurn"}
BYTES_PER_S = 2 * 16_000


def url(server, query: str = RAW) -> str:
    return f"ws://127.0.0.1:{server.port}/v2/listen?{query}"


def configure(**thresholds: Any) -> dict[str, Any]:
    return {"type": "Configure", "thresholds": thresholds}


class FluxClient(Client):
    """Every message that it receives keeps the law."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.law = FluxLaw()
        self.messages: list[dict[str, Any]] = []

    def receive(self) -> dict[str, Any] | None:
        message = super().receive()
        if message is not None:
            self.law.check([message])
            self.messages.append(message)
        return message

    def say(self, audio: bytes, from_s: float, to_s: float) -> None:
        self.send(*pieces(audio[round(from_s * BYTES_PER_S) : round(to_s * BYTES_PER_S)], 640))

    def until_event(self, event: str) -> dict[str, Any]:
        while (message := self.receive()) is not None:
            if message.get("event") == event:
                return message
        raise AssertionError(f"closed {self.close_code} before any {event}: {self.messages}")

    def close(self) -> list[tuple[str, str]]:
        """Every change of the turns, from the beginning."""
        self.send(CLOSE)
        self.rest()
        assert (self.close_code, self.close_reason) == (1000, ""), self.messages
        return self.law.told


def ends(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message.get("event") == "EndOfTurn"]


def test_a_turn_detector_gives_the_confidence(serve):
    """The first turn ends because the detector says so; before the second is over, it is not sure."""
    server = serve(
        words_of_length,
        **{"turn.detector": "helpers.judges:LongEnough", "turn.deadline_ms": 10_000, "vad.prefix_padding_ms": 0},
    )
    talk = encode(bursts((0.5, 2.5), (3.2, 3.5), length_s=6.0))
    query = RAW + "&eot_threshold=0.72&eager_eot_threshold=0.5&eot_timeout_ms=1000"
    with FluxClient(url(server, query)) as client:
        client.say(talk, 0, 6.0)
        first, second = client.until_event("EndOfTurn"), client.until_event("EndOfTurn")
        client.close()
        assert ends(client.messages) == [first, second]
        assert (first["trigger"], first["end_of_turn_confidence"]) == ("model", 0.75)
        assert second["end_of_turn_confidence"] == pytest.approx(0.72, abs=0.01)
        assert [message for message in client.messages if message.get("event") == "EagerEndOfTurn"] == []
    assert {name: n for name, n in server.service.tally.turns.items() if n} == {"finished": 1, "unfinished": 1}


def test_a_session(serve):
    server = serve(words_of_length)
    with FluxClient(url(server), additional_headers={"Authorization": "Token any"}) as client:
        request_id = client.socket.response.headers["dg-request-id"]
        assert str(uuid.UUID(request_id)) == request_id
        assert client.receive() == {"type": "Connected", "request_id": request_id, "sequence_id": 0}
        client.say(TALK, 0, 6)
        client.close()
    native = [event for event in stream(server.url(), start(), *pieces(TALK, 640)) if event["type"] == "segment"]
    found = ends(client.messages)
    assert [turn["transcript"] for turn in found] == [event["text"] for event in native]
    assert [turn["turn_index"] for turn in found] == [0, 1]
    assert [turn["trigger"] for turn in found] == ["model", "model"]
    assert [turn["audio_window_start"] for turn in found] == [event["start_time"] for event in native]
    words = found[0]["words"]
    assert [(word["word"], word["confidence"]) for word in words] == [("Some", 0.5), (words[1]["word"], 0.5)]
    assert words[0]["start"] == pytest.approx(native[0]["start_time"] + 0.1, abs=0.002)
    assert all(message["request_id"] == request_id for message in client.messages)
    assert not [message for message in client.messages if message.get("event") in ("EagerEndOfTurn", "TurnResumed")]


@pytest.mark.parametrize("size", [34, 7778, 100_000])
def test_turns_do_not_depend_on_how_the_audio_is_cut(serve, size):
    server = serve(words_of_length)
    found = []
    for each in (640, size):
        with FluxClient(url(server, EAGER)) as client:
            client.send(*pieces(TALK, each))
            client.close()
        found.append(
            [(turn["transcript"], turn["audio_window_start"], turn["words"]) for turn in ends(client.messages)]
        )
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_an_eager_end_is_confirmed_or_withdrawn(serve):
    audio = encode(bursts((0.5, 1.5), (1.9, 2.5), length_s=4.0))
    with FluxClient(url(serve(words_of_length), EAGER)) as client:
        client.say(audio, 0, 1.8)
        first = client.until_event("EagerEndOfTurn")
        client.say(audio, 1.8, 2.9)
        resumed = client.until_event("TurnResumed")
        second = client.until_event("EagerEndOfTurn")
        client.say(audio, 2.9, 4.0)
        told = client.close()
    assert first["transcript"] == resumed["transcript"] != second["transcript"]
    assert (first["end_of_turn_confidence"], second["end_of_turn_confidence"]) == (0.5, 0.5)
    assert told[0][0] == "StartOfTurn"
    assert told[1:] == [
        ("EagerEndOfTurn", first["transcript"]),
        ("TurnResumed", first["transcript"]),
        ("EagerEndOfTurn", second["transcript"]),
        ("EndOfTurn", second["transcript"]),
    ]


def test_updates_come_while_nobody_speaks(serve):
    with FluxClient(url(serve(words_of_length))) as client:
        windows = []
        for _ in range(3):
            client.send(bytes(BYTES_PER_S // 4))
            update = client.until_event("Update")
            windows.append(update["audio_window_end"])
            assert (update["turn_index"], update["transcript"]) == (0, "")
        assert windows == [0.25, 0.5, 0.75]
        assert client.close() == []


def test_the_client_ends_a_turn(serve):
    with FluxClient(url(serve(words_of_length))) as client:
        client.send(FORCE)  # no turn is open: ignored
        client.say(TALK, 0, 1.5)
        client.send(FORCE, FORCE)
        ended = client.until_event("EndOfTurn")
        assert (ended["trigger"], ended["turn_index"]) == ("manual", 0)
        assert ended["audio_window_end"] == pytest.approx(1.5, abs=0.04)
        client.say(TALK, 3, 4)
        client.close()
    assert [turn["trigger"] for turn in ends(client.messages)] == ["manual", "manual"]  # CloseStream ends the last one


@pytest.mark.parametrize(("silence_s", "trigger"), [(0.74, "model"), (0.1, "manual")])
@pytest.mark.parametrize("options", [{}, {"turn.detector": "helpers.judges:LongEnough", "turn.deadline_ms": 10_000}])
def test_a_close_that_follows_the_audio_at_once_does_not_end_turns_that_silence_ended(
    serve, options, silence_s, trigger
):
    server = serve(words_of_length, **options)
    with FluxClient(url(server)) as client:
        client.send(encode(bursts((0.3, 0.9), length_s=0.9 + silence_s)))
        client.close()
    assert [turn["trigger"] for turn in ends(client.messages)] == [trigger]


def test_a_turn_that_only_the_client_and_the_timeout_end(serve):
    audio = encode(bursts((0.5, 1.0), (2.0, 2.5), length_s=6.0))
    with FluxClient(url(serve(words_of_length), RAW + "&eot_threshold=1.0&eot_timeout_ms=2000")) as client:
        client.say(audio, 0, 6)
        client.close()
    (ended,) = ends(client.messages)
    assert ended["trigger"] == "timeout"


def test_a_configure_in_the_middle_of_a_turn(serve):
    """Another silence needs another session: the turn goes on in it, and so do its times."""
    audio = encode(bursts((0.5, 1.5), (1.9, 3.0), length_s=5.0))
    with FluxClient(url(serve(words_of_length))) as client:
        client.say(audio, 0, 1.7)
        client.until_event("StartOfTurn")
        client.send({"type": "Configure", "thresholds": {"eot_threshold": 0.9}, "keyterms": [], "numerals": True})
        client.say(audio, 1.7, 5)
        client.close()
    (configured,) = of_type(client.messages, "ConfigureSuccess")
    assert configured["thresholds"] == {"eot_threshold": 0.9, "eot_timeout_ms": 5000}
    assert (configured["keyterms"], configured["language_hints"]) == ([], [])
    (ended,) = ends(client.messages)
    assert len(ended["transcript"].split()) == 6  # of two calls
    assert ended["end_of_turn_confidence"] == 0.9
    assert ended["audio_window_end"] == pytest.approx(3.0, abs=0.05)
    starts = [word["start"] for word in ended["words"]]
    assert starts == sorted(starts)
    assert starts[-1] > 1.7


def test_a_new_session_goes_on_in_the_middle_of_a_sample(serve):
    server = serve(lambda audio: {"text": f"peak {abs(audio).max():.2f}"})

    def transcripts(cut: int) -> list[str]:
        with FluxClient(url(server)) as client:
            client.send(TALK[:cut], configure(eot_threshold=0.9), *pieces(TALK[cut:], 640))
            client.close()
        return [end["transcript"] for end in ends(client.messages)]

    assert transcripts(16_001) == transcripts(16_000) != []


def test_eager_ends_can_be_switched_on_and_off(serve):
    with FluxClient(url(serve(words_of_length))) as client:
        client.send(configure(eager_eot_threshold=0.4))
        (*_, success) = client.until("ConfigureSuccess")
        assert success["thresholds"] == {"eager_eot_threshold": 0.4, "eot_threshold": 0.7, "eot_timeout_ms": 5000}
        client.say(TALK, 0, 2.4)
        assert client.until_event("EagerEndOfTurn")["end_of_turn_confidence"] == 0.4
        client.say(TALK, 2.4, 3)
        client.until_event("EndOfTurn")
        client.send(configure(eager_eot_threshold=None))
        client.say(TALK, 3, 6)
        told = client.close()
    assert [event for event, _ in told] == ["StartOfTurn", "EagerEndOfTurn", "EndOfTurn", "StartOfTurn", "EndOfTurn"]


def test_a_configure_that_cannot_be_carried_out_changes_nothing(serve):
    with FluxClient(url(serve(words_of_length))) as client:
        client.send(configure(eot_threshold=0.1), {"type": "Configure", "keyterms": ["a"]})
        (*_, first) = client.until("ConfigureFailure")
        (*_, second) = client.until("ConfigureFailure")
        client.say(TALK, 0, 6)
        client.close()
    assert first == {
        "type": "ConfigureFailure",
        "request_id": client.messages[0]["request_id"],
        "sequence_id": first["sequence_id"],
        "code": "CONFIGURE_INVALID",
        "error_code": "CONFIGURE_INVALID",
        "description": "thresholds.eot_threshold: expected a number between 0.5 and 1, got 0.1",
    }
    assert second["code"] == "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
    assert [turn["end_of_turn_confidence"] for turn in ends(client.messages)] == [0.7, 0.7]


class Keyed(Model):
    """Says its key terms."""

    class Options(msgspec.Struct):
        keyterms: list[str] = []

    def infer(self, audio, request):
        return {"text": "+".join(request.options.keyterms) or "none"}


SPOKEN, QUIET = encode(bursts((0.1, 0.6), length_s=0.7)), bytes(round(0.9 * BYTES_PER_S))
SAID = st.sampled_from([
    *(SPOKEN, SPOKEN, QUIET, FORCE, "{"),
    *(configure(eot_threshold=threshold) for threshold in (0.5, 0.9, 1.0, 3.0)),
    *(configure(eager_eot_threshold=threshold) for threshold in (0.3, None)),
])  # fmt: skip


def test_whatever_a_client_says_the_law_holds(serve):
    server = serve(words_of_length, **{"limits.invalid_messages": 100})

    @settings(max_examples=50, deadline=None)
    @given(st.lists(SAID, max_size=12))
    def check(messages):
        with FluxClient(url(server, EAGER)) as client:
            for message in messages:
                client.send(*(pieces(message, 6400) if isinstance(message, bytes) else (message,)))
            client.close()
        n_configures = sum(isinstance(message, dict) and message != FORCE for message in messages)
        answers = [message for message in client.messages if message["type"].startswith("Configure")]
        assert len(answers) == n_configures
        assert bool(ends(client.messages)) == (SPOKEN in messages)
        assert len(of_type(client.messages, "Warning")) == messages.count("{")
        assert of_type(client.messages, "Error") == []
        opened = [event for event, _ in client.law.told if event in ("StartOfTurn", "EndOfTurn")]
        assert opened == ["StartOfTurn", "EndOfTurn"] * (len(opened) // 2)  # no turn stays open

    check()


def test_key_terms_are_options_of_the_model(serve):
    with FluxClient(url(serve(Keyed()), RAW + "&keyterm=a&keyterm=b%20c")) as client:
        client.say(TALK, 0, 3)
        client.until_event("EndOfTurn")
        client.send({"type": "Configure", "keyterms": ["d"]})
        client.say(TALK, 3, 6)
        client.close()
    assert [turn["transcript"] for turn in ends(client.messages)] == ["a+b c", "d"]
    assert of_type(client.messages, "ConfigureSuccess")[0]["keyterms"] == ["d"]


def test_a_failed_utterance_is_a_warning(serve):
    with FluxClient(url(serve(failing, **{"inference.warm_up": False}))) as client:
        client.say(TALK, 0, 6)
        assert client.close() == []
    warnings = of_type(client.messages, "Warning")
    assert {(warning["code"], warning["description"]) for warning in warnings} == {("INFERENCE_FAILED", "not this one")}
    assert of_type(client.messages, "Error") == []


def test_messages_that_nobody_means(serve):
    with FluxClient(url(serve(words_of_length, **{"limits.invalid_messages": 3}))) as client:
        client.send("{", {"type": "Finalize"}, {"type": "KeepAlive"}, "[]")
        client.rest()
        assert (client.close_code, client.close_reason) == (1008, "DATA-0000: too many invalid messages")
    assert [message["type"] for message in client.messages] == ["Connected", "Warning", "Warning", "Warning", "Error"]
    assert {message["code"] for message in client.messages[1:]} == {"UNPARSABLE_CLIENT_MESSAGE"}
    assert client.messages[2]["description"] == 'type: expected ForceEndTurn, Configure or CloseStream, got "Finalize"'
    assert client.messages[-1]["description"] == "too many invalid messages"


def test_a_client_that_is_silent(serve):
    with FluxClient(url(serve(words_of_length, **{"limits.idle_timeout_s": 0.1}))) as client:
        client.rest()
        assert (client.close_code, client.close_reason) == (1011, "NET-0001: timeout")
    assert [(message["type"], message.get("code")) for message in client.messages] == [
        ("Connected", None),
        ("Error", "NET-0001"),
    ]


def test_what_is_no_container_ends_the_stream(serve):
    with FluxClient(url(serve(words_of_length), "model=flux-general-en")) as client:
        client.send(bytes(range(256)) * 400)
        client.until("Error")
        client.send(bytes(1000))
        client.rest()
        assert client.close_code == 1008
    assert [message["type"] for message in client.messages] == ["Connected", "Error"]


def test_refusals_are_in_deepgrams_form(serve):
    server = serve(words_of_length, **{"auth.tokens": "good"})
    status, headers, body = refused(url(server), additional_headers={"Authorization": "Token bad"})
    assert (status, headers["www-authenticate"], headers["dg-error"]) == (401, "Token", body["err_msg"])
    good = {"additional_headers": {"Authorization": "Token good"}}
    status, headers, body = refused(url(server, RAW + "&eot_threshold=2"), **good)
    assert (status, body["err_code"]) == (400, "Bad Request")
    assert body["err_msg"] == headers["dg-error"] == "eot_threshold: expected a number between 0.5 and 1, got 2"
    assert refused(url(server, "encoding=linear16&sample_rate=1"), **good)[0] == 400


def test_a_full_server_says_come_back(serve):
    server = serve(words_of_length, **{"limits.streams": 1})
    with Client(server.url()):
        status, headers, body = refused(url(server))
    assert (status, body["err_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert 4 <= int(headers["retry-after"]) <= 9


def test_it_can_be_switched_off(serve):
    assert refused(url(serve(words_of_length, **{"endpoints.deepgram": False})))[0] == 404


def wire() -> FluxWire:
    return FluxWire(parse_flux(RAW.encode(), silence=Silence(600, 300)), "id", lambda options: options)


TYPES = st.sampled_from(["ForceEndTurn", "Configure", "CloseStream", "KeepAlive", "Finalize"])


@given(st.text() | st.fixed_dictionaries({"type": st.text() | TYPES}, optional={
    "thresholds": st.dictionaries(st.text() | st.just("eot_threshold"), st.floats(0, 2)),
    "keyterms": st.text() | st.lists(st.text()),
}).map(json.dumps))  # fmt: skip
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(InvalidMessage):
        assert len(wire().read(text)) in (1, 2, 3)


def test_every_close_has_a_code_a_short_text_and_a_message():
    for reason in CloseReason:
        made, close = wire(), Close(reason, "x" * 100)
        assert made.code_of(close) in (1000, 1001, 1008, 1009, 1011, 1013)
        assert len(made.reason_of(close).encode()) <= 123
        kinds = [json.loads(message)["type"] for message in made.farewell(close)]
        assert kinds == ([] if reason in (CloseReason.COMPLETED, CloseReason.DRAINING) else ["Error"])
