from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from helpers import otlp, wire
from helpers.otlp import Collector
from voxgate import InferenceError, Model, client
from voxgate.observe.tracing import Tracing, parse_traceparent
from voxgate.service.client_info import ClientInfo

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
OTHER_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
SPEECH = wire.encode(wire.bursts((1.0, 2.0), length_s=3.5))


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Collector]]:
    """``collect("grpc")``: a collector, and an environment in which servers send their spans to it."""
    collectors: list[Collector] = []

    def start(protocol: str = "http/protobuf", **environ: str) -> Collector:
        collector = Collector(protocol)
        collectors.append(collector)
        for name, value in {**collector.environ, **environ}.items():
            monkeypatch.setenv(name, value)
        return collector

    yield start
    for collector in collectors:
        collector.stop()


def named(spans: list[otlp.Received], name: str) -> list[otlp.Received]:
    return [span for span in spans if span.name == name]


# What a traceparent is


def test_a_valid_traceparent():
    parent = parse_traceparent(TRACEPARENT, "vendor=1")
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.flags, parent.state) == (TRACE, SPAN, 1, "vendor=1")


def test_a_later_version_may_say_more():
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like") is not None
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01.what") is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "no traceparent",
        TRACE,
        TRACEPARENT.upper(),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        TRACEPARENT + "\n",
        " " + TRACEPARENT,
        TRACEPARENT.replace("0af", "0ag"),
    ],
)
def test_an_invalid_traceparent_is_none(text: str | None):
    assert parse_traceparent(text) is None


# When there are traces


def test_nothing_is_imported_unless_asked():
    code = """
import sys
import voxgate.cli.serve, voxgate.server, voxgate.client, voxgate.observe.tracing
from voxgate.config import load_config
from voxgate.service.service import Service
service = Service(load_config(environ={}, overrides={"model": "dummy", "vad.detector": "energy"}))
assert service.tracing is None
print([name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "grpc", "google")])
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_no_traces(environ: dict[str, str], caplog: pytest.LogCaptureFixture):
    assert Tracing.from_environment(environ=environ) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: expected otlp, console or none, got 'zipkin'"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc or http/protobuf, got 'http/json'",
        ),
    ],
)
def test_what_cannot_be_had_is_said_once_and_the_server_serves(
    environ: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
):
    assert Tracing.from_environment(environ=environ) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert words in record.getMessage()


def test_asked_for_but_not_installed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert Tracing.from_environment(environ={"OTEL_TRACES_EXPORTER": "otlp"}) is None
    (record,) = caplog.records
    assert "pip install 'voxgate[otel]'" in record.getMessage()


# What a trace holds


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


# What goes wrong


def test_a_failure_is_in_the_trace(collect, serve):
    def refuse(audio):
        raise InferenceError("no such language")

    collector = collect()
    server = serve(refuse)
    wire.stream(server.url(), wire.start(), SPEECH)
    spans = collector.wait_for("session", "utterance", "inference")
    for name in ("inference", "utterance"):
        (span,) = named(spans, name)
        assert span.failed
        assert span.attributes["error.type"] == "inference_failed"
        assert span.events["exception"]["exception.message"] == "no such language"
    assert not named(spans, "session")[0].failed


def test_an_error_whose_text_is_impossible(collect, serve):
    class Odd(InferenceError):
        def __str__(self) -> str:
            raise RuntimeError("no text today")

    def refuse(audio):
        raise Odd if len(audio) > 10_000 else InferenceError("a\ud800b")

    collector = collect()
    server = serve(refuse, **{"inference.warm_up": False})
    for n_bytes in (16_000, 32_000):
        wire.stream(server.url("simple"), wire.start(), bytes(n_bytes))
    spans = named(collector.wait_for("session", "session", "inference", "inference"), "inference")
    texts = {span.events["exception"]["exception.message"] for span in spans}
    assert texts == {"a?b", "Unexpected inference failure"}


def test_what_a_broken_model_says_stays_in_the_log(collect, serve):
    def break_down(audio):
        raise ValueError("heard: the launch code is 0000")

    collector = collect()
    server = serve(break_down)
    wire.stream(server.url(), wire.start(), SPEECH)
    (inference,) = named(collector.wait_for("session", "inference"), "inference")
    assert inference.failed
    assert inference.attributes["error.type"] == "internal"
    assert "launch" not in repr(vars(inference))


def test_the_interim_that_a_final_overtakes(collect, serve):
    entered, let_go = threading.Event(), threading.Event()

    def slow_interim(audio):
        if not entered.is_set():
            entered.set()
            assert let_go.wait(30)
        return {}

    collector = collect()
    server = serve(slow_interim, **{"inference.threads": 1, "inference.warm_up": False})
    with wire.Client(server.url()) as client:
        client.send(wire.start(interim_results=True), SPEECH[:64_000])
        assert entered.wait(30)
        client.send(SPEECH[64_000:])
        client.until("inactive")
        let_go.set()
        client.send(wire.STOP)
        client.rest()
    spans = collector.wait_for("session", "utterance", "inference", "inference")
    (utterance,) = named(spans, "utterance")
    interims = [span for span in named(spans, "inference") if not span.attributes["voxgate.final"]]
    assert {span.parent_id for span in named(spans, "inference")} == {utterance.id}
    assert "superseded" in {span.attributes["voxgate.outcome"] for span in interims}


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


class VadBatcher(Model):
    """Lets nobody through until it is told to; then whoever waits comes in one batch."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def infer(self, audio):
        self.entered.set()
        assert self.let_go.wait(30)
        return {}

    def infer_batch(self, batch):
        return [{} for _ in range(len(batch))]


def test_a_batch_is_linked_with_the_calls_of_its_streams(collect, serve):
    model = VadBatcher()
    collector = collect()
    server = serve(model, **{"inference.threads": 1, "inference.warm_up": False})
    clients = [wire.Client(server.url("simple")) for _ in range(3)]
    with clients[0], clients[1], clients[2]:
        clients[0].send(wire.start(), bytes(32_000), wire.FLUSH)
        assert model.entered.wait(30)
        unsampled = wire.start(trace_id=f"00-{OTHER_TRACE}-{SPAN}-00")
        clients[1].send(wire.start(), bytes(32_000), wire.FLUSH, wire.KEEP_ALIVE)
        clients[2].send(wire.start(), bytes(32_000), wire.FLUSH)
        with wire.Client(server.url("simple")) as other:
            other.send(unsampled, bytes(32_000), wire.FLUSH)
            wait_until(server, lambda: server.service.scheduler.depths()["final"] == 3)
            model.let_go.set()
            for client in (*clients, other):
                client.send(wire.STOP)
                client.rest()
    spans = collector.wait_for("session", "session", "session", "batch")
    (batch,) = named(spans, "batch")
    assert batch.attributes["voxgate.batch.size"] == 3
    runs = [span for span in named(spans, "run") if span.attributes["voxgate.batch.size"] == 3]
    assert len(runs) == 2  # that of the stream which is not sampled has no span
    assert [run.links for run in runs] == [[batch.id], [batch.id]]
    assert sorted(batch.links) == sorted(run.parent_id for run in runs)
    assert len({run.trace_id for run in runs} | {batch.trace_id}) == 3
    (alone,) = [span for span in named(spans, "run") if span.attributes["voxgate.batch.size"] == 1]
    assert alone.links == []


def wait_until(server, condition: Callable[[], bool]) -> None:
    """Asks on the server's loop, again and again, until it is so."""
    done = threading.Event()
    loop = server.service.scheduler._loop

    def ask() -> None:
        if condition():
            done.set()
        else:
            loop.call_later(0.002, ask)

    loop.call_soon_threadsafe(ask)
    assert done.wait(30)


# The collector is not there


@pytest.mark.parametrize("protocol", otlp.PROTOCOLS)
def test_a_collector_that_is_gone_holds_nothing(collect, serve, protocol: str, caplog: pytest.LogCaptureFixture):
    collector = collect(protocol)
    collector.stop()
    collector.stop = lambda: None
    server = serve()
    for _ in range(20):
        wire.stream(server.url(), wire.start(), SPEECH)
    server.stop()
    server.stop = lambda: None
    theirs = [
        record for record in caplog.records if record.name.startswith(("opentelemetry", "voxgate.observe.tracing"))
    ]
    assert len(theirs) < 10


def test_the_end_waits_for_the_collector_only_so_long(caplog: pytest.LogCaptureFixture):
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Stuck(SpanExporter):
        def __init__(self) -> None:
            self.entered, self.ended = threading.Event(), threading.Event()

        def export(self, spans):
            self.entered.set()
            assert self.ended.wait(30)
            return SpanExportResult.FAILURE

        def shutdown(self) -> None:
            self.ended.set()

    exporter = Stuck()
    tracing = Tracing(exporter)
    session = tracing.session(None, {})
    assert session is not None
    session.end("finished", {})
    asyncio.run(tracing.stop(0.05))
    assert exporter.entered.is_set()
    assert exporter.ended.is_set()
    assert "did not take the last spans" in caplog.text


def test_the_end_of_the_server_sends_what_is_left(collect, serve):
    collector = collect(OTEL_BSP_SCHEDULE_DELAY="600000")
    server = serve()
    wire.stream(server.url("simple"), wire.start(), bytes(32_000))
    assert collector.spans == []
    server.stop()
    server.stop = lambda: None
    assert named(collector.spans, "session")


# From the client on


@pytest.mark.parametrize("protocol", otlp.PROTOCOLS)
def test_one_connected_trace_from_the_client_to_the_inference(collect, serve, protocol: str):
    collector = collect(protocol)
    server = serve()
    command = [sys.executable, "-m", "voxgate", "client", "-i", "demo", "--addr", server.url(), "--notices"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    spans = collector.wait_for("stream", "session", "utterance", "inference", "run")
    (stream,), (session,) = named(spans, "stream"), named(spans, "session")
    assert (stream.service, session.service) == ("voxgate-client", "voxgate")
    assert stream.parent_id == ""
    assert {span.trace_id for span in spans} == {stream.trace_id}
    assert f"trace {stream.trace_id}" in done.stdout
    by_id = {span.id: span for span in spans}
    for run in named(spans, "run"):
        chain = [run]
        while chain[-1].parent_id:
            chain.append(by_id[chain[-1].parent_id])
        assert [span.name for span in chain] == ["run", "inference", "utterance", "session", "stream"]
    assert stream.attributes["voxgate.results"] == len(named(spans, "utterance"))
    assert stream.start_ns <= session.start_ns <= session.end_ns <= stream.end_ns + 1_000_000_000


def test_the_client_goes_on_with_a_trace_that_it_is_given(collect, serve):
    collector = collect()
    server = serve()

    async def run() -> None:
        tracing = Tracing.from_environment("mine")
        assert tracing is not None
        options = {"addr": server.url("simple"), "trace_id": TRACEPARENT, "tracing": tracing}
        async for _ in client.stream((np.zeros(16_000, np.float32), 16_000), **options):
            pass
        await tracing.stop()

    asyncio.run(run())
    spans = collector.wait_for("stream", "session")
    (stream,), (session,) = named(spans, "stream"), named(spans, "session")
    assert (stream.trace_id, stream.parent_id) == (TRACE, SPAN)
    assert (session.trace_id, session.parent_id) == (TRACE, stream.id)


def test_the_client_without_tracing_passes_its_trace_id_on_in_header_and_message(serve, monkeypatch):
    heard = []
    monkeypatch.setattr(
        "voxgate.service.access.gate.ClientInfo", lambda *fields: heard.append(ClientInfo(*fields)) or heard[-1]
    )
    server = serve()
    source = (np.zeros(16_000, np.float32), 16_000)
    events = client.collect(source, addr=server.url("simple"), trace_id=TRACEPARENT, notices=True)
    assert events[0].trace_id == TRACE
    client.collect(source, addr=server.url("simple"), trace_id="no\r\nheader", notices=True)
    assert [client.traceparent for client in heard] == [TRACEPARENT, None]


def test_a_stream_that_fails_says_so_in_its_trace(collect):
    collector = collect()

    async def run() -> None:
        tracing = Tracing.from_environment()
        assert tracing is not None
        with pytest.raises(client.ConnectError):
            async for _ in client.stream((np.zeros(16, np.float32), 16_000), addr="127.0.0.1:1", tracing=tracing):
                pass
        await tracing.stop()

    asyncio.run(run())
    (stream,) = collector.wait_for("stream")
    assert stream.failed
    assert stream.attributes["error.type"] == "ConnectError"


# The whole program


@pytest.mark.parametrize("isolation", ["threads", "process"])
def test_client_and_server_as_programs_and_a_model_that_fails(collect, isolation: str):
    collector = collect("grpc")
    settings = {
        "vad.detector": "energy",
        "model.delay": 0,
        "model.constant_factor": 0,
        "model.jitter": 0,
        "model.warmup_penalty": 0,
        "model.failure_rate": 1,
        "model.panic_rate": 0,
        "inference.isolation": isolation,
        "inference.processes": 1,
        "inference.warm_up": "false",
    }
    serve = [sys.executable, "-m", "voxgate", "serve", "--port", "0", "--model", "dummy"]
    serve += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            addr = process.stdout.readline().split()[-1]
            client = [sys.executable, "-m", "voxgate", "client", "-i", "demo", "--addr", f"{addr}/api/v1/simple"]
            subprocess.run(client, capture_output=True, check=False)
        finally:
            process.terminate()
            process.wait(30)
    spans = collector.spans  # both have ended, and have sent everything before
    (stream,), (session,) = named(spans, "stream"), named(spans, "session")
    assert session.parent_id == stream.id
    inferences = named(spans, "inference")
    assert inferences
    assert {span.parent_id for span in inferences} == {session.id}
    assert all(span.failed for span in inferences)
    assert {span.attributes["error.type"] for span in inferences} == {"inference_failed"}
    assert {span.parent_id for span in named(spans, "run")} == {span.id for span in inferences}
    assert stream.attributes["voxgate.results"] == 0
