"""The spans of a client's streams."""

import asyncio
import os
import subprocess
import sys

import numpy as np
import pytest

from helpers import otlp
from helpers.otlp import named
from voxgate import client
from voxgate.observe.tracing import Tracing
from voxgate.service.client_info import ClientInfo

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


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
