"""When there are traces, and how the server ends with a collector that is gone."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from helpers import otlp, wire
from helpers.otlp import named
from voxgate.observe.tracing import Tracing

SPEECH = wire.encode(wire.bursts((1.0, 2.0), length_s=3.5))


def test_nothing_is_imported_unless_asked():
    code = """
import sys
import voxgate.cli.serve, voxgate.server.standalone, voxgate.client, voxgate.observe.tracing
from voxgate.config import load_config
from voxgate.service.service import Service
service = Service(load_config(environ={}, overrides={"model": "dummy", "vad.detector": "energy"}))
assert service.tracing is None
print([name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "grpc", "google")])
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    assert "did not accept the last spans" in caplog.text


def test_the_end_of_the_server_sends_what_is_left(collect, serve):
    collector = collect(OTEL_BSP_SCHEDULE_DELAY="600000")
    server = serve()
    wire.stream(server.url("simple"), wire.start(), bytes(32_000))
    assert collector.spans == []
    server.stop()
    server.stop = lambda: None
    assert named(collector.spans, "session")


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
        "inference.engine": isolation,
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
