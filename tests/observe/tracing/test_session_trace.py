"""The spans of a session, on a real server with a collector."""

import threading

import pytest

from helpers import otlp, wire
from helpers.otlp import named

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
OTHER_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
SPEECH = wire.encode(wire.bursts((1.0, 2.0), length_s=3.5))


@pytest.mark.parametrize("protocol", otlp.PROTOCOLS)
def test_one_connected_trace_from_the_caller_to_the_inference(collect, serve, protocol: str):
    collector = collect(protocol)
    server = serve()
    events = wire.stream(server.url(), wire.start(trace_id=TRACEPARENT, notices=True), SPEECH)
    (started,) = wire.of_type(events, "started")
    assert started["trace_id"] == TRACE

    spans = collector.wait_for("session", "utterance", "inference", "queue", "run")
    assert {span.trace_id for span in spans} == {TRACE}
    assert {span.service for span in spans} == {"voxgate"}
    (session,), (utterance,), (inference,) = (named(spans, name) for name in ("session", "utterance", "inference"))
    (queue,), (run,) = named(spans, "queue"), named(spans, "run")
    assert [session.parent_id, utterance.parent_id, inference.parent_id] == [SPAN, session.id, utterance.id]
    assert [queue.parent_id, run.parent_id] == [inference.id, inference.id]

    assert session.attributes["voxgate.session.id"] == started["session_id"]
    assert session.attributes["voxgate.route"] == "segmented"
    assert session.attributes["voxgate.outcome"] == "finished"
    assert session.attributes["voxgate.received_s"] == 3.5
    assert session.attributes["client.address"] == "127.0.0.1"
    (final,) = wire.of_type(events, "segment")
    for span in (utterance, inference):
        assert round(span.attributes["voxgate.audio.start_s"], 3) == final["start_time"]
        assert round(span.attributes["voxgate.audio.end_s"], 3) == final["end_time"]
    assert inference.attributes["voxgate.final"] is True
    assert inference.attributes["voxgate.outcome"] == "ok"
    assert round(utterance.events["speech ended"]["voxgate.audio.end_s"], 3) == final["end_time"]
    assert "voxgate.outcome" not in utterance.attributes  # it was not left to the end of the session

    # Each lies within its parent, and the waiting before the run.
    assert session.start_ns <= utterance.start_ns <= inference.start_ns <= queue.start_ns <= queue.end_ns
    assert queue.end_ns == run.start_ns <= run.end_ns <= inference.end_ns <= utterance.end_ns <= session.end_ns


def test_a_question_about_a_turn_stands_below_its_utterance(collect, serve):
    collector = collect()
    server = serve(
        **{"turn.detector": "helpers.judges:LongEnough", "turn.deadline_ms": 10_000, "vad.prefix_padding_ms": 0}
    )
    talk = wire.encode(wire.bursts((0.5, 2.5), (3.5, 3.8), length_s=5.5))
    wire.stream(server.url(), wire.start(), talk)
    spans = collector.wait_for("session", "utterance", "turn")
    utterances, turns = named(spans, "utterance"), named(spans, "turn")
    assert [turn.parent_id for turn in turns] == [utterance.id for utterance in utterances]
    assert [turn.attributes["voxgate.outcome"] for turn in turns] == ["finished", "unfinished"]
    assert [turn.attributes["voxgate.channel"] for turn in turns] == [0, 0]
    for turn, utterance in zip(turns, utterances, strict=True):
        pause_s = turn.attributes["voxgate.audio.end_s"] - utterance.attributes["voxgate.audio.end_s"]
        assert 0.192 <= pause_s < 0.192 + 0.032
        assert 0 <= turn.attributes["voxgate.turn.probability"] <= 1
        assert utterance.start_ns <= turn.start_ns <= turn.end_ns <= utterance.end_ns


def test_no_span_says_what_was_heard(collect, serve):
    collector = collect()
    server = serve(lambda audio: {"text": "a secret that was said"})
    wire.stream(server.url(), wire.start(token="s3cr3t"), SPEECH)
    for span in collector.wait_for("session", "run"):
        assert "secret" not in repr(vars(span))
        assert "s3cr3t" not in repr(vars(span))


def test_without_utterances_calls_stand_below_the_session(collect, serve):
    collector = collect()
    server = serve(**{"simple.min_chunk_ms": 500})
    wire.stream(server.url("simple"), wire.start(), wire.encode(wire.bursts(length_s=2.0)))
    spans = collector.wait_for("session", "inference", "run")
    (session,) = named(spans, "session")
    assert session.parent_id == ""
    assert {span.parent_id for span in named(spans, "inference")} == {session.id}
    assert named(spans, "utterance") == []


def stream_with_header(url: str, traceparent: str, *messages) -> list:
    from websockets.sync.client import connect

    client = wire.Client(url)
    client._connecting = connect(url, compression=None, additional_headers={"traceparent": traceparent})
    with client:
        client.send(*messages, wire.STOP)
        return client.rest()


@pytest.mark.parametrize(
    ("header", "message", "trace", "parent"),
    [
        (TRACEPARENT, None, TRACE, SPAN),
        (TRACEPARENT, "nonsense", TRACE, SPAN),
        ("nonsense", TRACEPARENT, TRACE, SPAN),
        (f"00-{OTHER_TRACE}-00f067aa0ba902b7-01", TRACEPARENT, TRACE, SPAN),
        ("nonsense", "00-nonsense", None, ""),
    ],
)
def test_the_message_wins_and_what_is_invalid_is_ignored(collect, serve, header, message, trace, parent):
    collector = collect()
    server = serve()
    start = wire.start(notices=True, trace_id=message)
    events = stream_with_header(server.url("simple"), header, start, bytes(32_000))
    assert wire.of_type(events, "error") == []
    (started,) = wire.of_type(events, "started")
    (session,) = named(collector.wait_for("session"), "session")
    assert session.parent_id == parent
    assert session.trace_id == started["trace_id"] == (trace or session.trace_id)


def test_a_server_without_traces_passes_the_id_on(serve, monkeypatch: pytest.MonkeyPatch):
    server = serve()
    events = wire.stream(server.url("simple"), wire.start(notices=True, trace_id=TRACEPARENT))
    assert wire.of_type(events, "started")[0]["trace_id"] == TRACE
    events = wire.stream(server.url("simple"), wire.start(notices=True))
    assert "trace_id" not in wire.of_type(events, "started")[0]


def test_a_caller_that_does_not_sample_is_obeyed(collect, serve):
    collector = collect()
    server = serve()
    events = wire.stream(
        server.url("simple"), wire.start(notices=True, trace_id=f"00-{TRACE}-{SPAN}-00"), bytes(32_000)
    )
    assert wire.of_type(events, "started")[0]["trace_id"] == TRACE
    wire.stream(server.url("simple"), wire.start(), bytes(32_000))
    collector.wait_for("session")
    server.server.should_exit = True
    assert TRACE not in {span.trace_id for span in collector.spans}


def test_the_sampler_is_that_of_the_standard_variable(collect, serve):
    collector = collect(OTEL_TRACES_SAMPLER="parentbased_always_off")
    server = serve()
    wire.stream(server.url("simple"), wire.start(), bytes(32_000))
    wire.stream(server.url("simple"), wire.start(trace_id=TRACEPARENT), bytes(32_000))
    assert {span.trace_id for span in collector.wait_for("session")} == {TRACE}


def test_a_client_that_leaves_ends_its_spans(collect, serve):
    entered, let_go = threading.Event(), threading.Event()

    def hold(audio):
        entered.set()
        assert let_go.wait(30)
        return {}

    collector = collect()
    server = serve(hold, **{"inference.warm_up": False})
    with wire.Client(server.url()) as client:
        client.send(wire.start(), SPEECH)
        assert entered.wait(30)
    spans = collector.wait_for("session", "utterance", "inference")
    let_go.set()
    assert {span.attributes["voxgate.outcome"] for span in spans} == {"abandoned"}
    (session,) = named(spans, "session")
    assert not session.failed
