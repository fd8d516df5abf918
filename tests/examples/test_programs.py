"""The examples in folders: programs that talk to a server, and models whose weights the user brings."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import io
import json
import runpy
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve as serve_websocket

from helpers.scripted_server import Received, active, answering, final, inactive, interim, serving
from helpers.transcription_server import transcription_server
from helpers.wire import of_type, start, stream
from voxgate import recordings
from voxgate.config import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], types.ModuleType]:
    """``load("telephony/twilio.py")``: the module."""

    def imported(name: str) -> types.ModuleType:
        path = EXAMPLES / name
        spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return imported


def test_live_captions(load) -> None:
    out = io.StringIO()
    events = [
        active(0.1),
        {**interim(0.1, 0.5, text="good mor"), "stable_text": "good"},
        inactive(0.9),
        final(0.1, 0.9, text="good morning"),
        active(1.0),
        inactive(1.1),
        final(1.0, 1.1, text=""),
    ]

    async def run() -> None:
        async with serving(answering(*events)) as address:
            captions = load("captions/captions.py")
            await captions.captions((np.zeros(1600, np.float32), 16_000), address, out, real_time=False)

    asyncio.run(run())
    assert out.getvalue() == "\r\x1b[Kgood\x1b[2m mor\x1b[0m\r\x1b[Kgood morning\n\r\x1b[K"


def test_captions_of_a_recording_that_comes_along(load) -> None:
    captions = load("captions/captions.py")
    assert captions.source_of(["reading"]) == recordings.path("reading")
    assert captions.source_of(["talk.wav"]) == "talk.wav"


def test_wake_words_by_the_real_model(load, serve) -> None:
    pytest.importorskip("pymicro_wakeword")
    server = serve("wakeword")
    wait_for = load("wakeword/wait_for.py")

    async def run() -> list[str]:
        return [word async for word, _ in wait_for.wake_words(DATA / "wakewords.flac", server.url("stateful"))]

    assert asyncio.run(run()) == ["okay_nabu", "hey_jarvis", "hey_mycroft", "alexa"]


# --- telephony ---

STREAM = "MZXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"
CALL = "CAXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"
# As Twilio's documentation of the messages shows them (Media Streams, WebSocket messages).
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "ACXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "streamSid": STREAM,
        "callSid": CALL,
        "tracks": ["inbound", "outbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"FirstName": "Jane", "LastName": "Doe", "RemoteParty": "Bob"},
    },
    "streamSid": STREAM,
}
DTMF = {
    "event": "dtmf",
    "streamSid": STREAM,
    "sequenceNumber": "5",
    "dtmf": {"track": "inbound_track", "digit": "1"},
}
MARK = {"event": "mark", "sequenceNumber": "4", "streamSid": STREAM, "mark": {"name": "my label"}}
STOP = {
    "event": "stop",
    "sequenceNumber": "5",
    "stop": {"accountSid": "ACXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "callSid": CALL},
    "streamSid": STREAM,
}


def media(track: str, chunk: int, payload: bytes) -> dict[str, Any]:
    return {
        "event": "media",
        "sequenceNumber": str(chunk + 1),
        "media": {
            "track": track,
            "chunk": str(chunk),
            "timestamp": str(20 * chunk),
            "payload": base64.b64encode(payload).decode(),
        },
        "streamSid": STREAM,
    }


def test_each_side_of_a_call_is_a_stream_of_mu_law(load) -> None:
    sessions: list[Received] = []
    twilio = load("telephony/twilio.py")
    caller, other = bytes(range(160)), bytes(range(96, 256))

    async def addressed() -> tuple[list[tuple[str, str, str]], int | None]:
        said: list[tuple[str, str, str]] = []
        hello = (active(0.0), inactive(0.02), final(0.0, 0.02, text="hello"))
        async with serving(answering(*hello, sessions=sessions)) as address:

            async def handle(websocket: Any) -> None:
                await twilio.bridge(websocket, address, lambda *text: said.append(text))

            async with serve_websocket(handle, "127.0.0.1", 0) as server:
                host, port = next(iter(server.sockets)).getsockname()[:2]
                async with connect(f"ws://{host}:{port}") as call:
                    for message in (
                        *(CONNECTED, START, media("inbound", 1, caller), media("outbound", 1, other), DTMF, MARK),
                        *(media("inbound", 2, caller[::-1]), STOP),
                    ):
                        await call.send(json.dumps(message))
                    await call.wait_closed()
                return said, call.close_code

    said, code = asyncio.run(addressed())
    assert sorted(said) == [(CALL, "inbound", "hello"), (CALL, "outbound", "hello")]
    assert code == 1000
    formats = [session.start["format"] for session in sessions]
    assert [(one["encoding"], one["sample_rate"], one["channels"]) for one in formats] == [("mulaw", 8_000, 1)] * 2
    assert sorted(bytes(session.audio) for session in sessions) == sorted([caller + caller[::-1], other])


L16 = {"encoding": "audio/l16", "sampleRate": 16000, "channels": 1}


def test_a_call_in_another_format_is_refused(load) -> None:
    twilio = load("telephony/twilio.py")
    wide = {
        **START,
        "start": {**START["start"], "mediaFormat": {"encoding": "audio/l16", "sampleRate": 16000, "channels": 1}},
    }

    async def run() -> int | None:
        async def handle(websocket: Any) -> None:
            await twilio.bridge(websocket, "ws://127.0.0.1:1", lambda *_: None)

        async with serve_websocket(handle, "127.0.0.1", 0) as server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            async with connect(f"ws://{host}:{port}") as call:
                await call.send(json.dumps(wide))
                await call.wait_closed()
            return call.close_code

    assert asyncio.run(run()) == 1003


# --- models ---


def test_a_pipeline_of_transformers(load, serve, monkeypatch) -> None:
    """With a stand-in for the pipeline: the calls that transformers documents, and what it answers."""
    calls: list[tuple[Any, dict[str, Any]]] = []

    def pipeline(task: str, model: str, device: str) -> Any:
        assert (task, model, device) == ("automatic-speech-recognition", "openai/whisper-tiny.en", "cpu")

        def run(inputs: list[dict[str, Any]], **settings: Any) -> list[dict[str, str]]:
            calls.append((inputs, settings))
            return [{"text": f" {len(one.pop('raw'))} samples"} for one in inputs]

        return run

    transformers = types.ModuleType("transformers")
    transformers.pipeline = pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    module = load("huggingface/pipeline_asr.py")
    server = serve(module.Pipeline("openai/whisper-tiny.en"))
    samples, rate = soundfile.read(recordings.path("telephone"), dtype="int16")
    message = start(rate, 1, options={"language": "german"})
    (first, *_) = finals = of_type(stream(server.url(), message, samples.tobytes()), "segment")
    assert first["text"].endswith(" samples")
    assert sum(len(inputs) for inputs, _ in calls) >= len(finals)
    assert {inputs[0]["sampling_rate"] for inputs, _ in calls} == {16_000}
    assert calls[-1][1]["generate_kwargs"] == {"language": "german"}
    assert "generate_kwargs" not in calls[0][1]  # the trial call has the defaults


def test_a_front_for_a_model_server(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = load_config(EXAMPLES / "vllm" / "voxgate.toml", environ={})
    assert (config.model.name, config.server.port) == ("openai:http://localhost:8000/v1", 8081)
    with transcription_server() as remote:
        server = serve(config.model.name.replace("http://localhost:8000/v1", remote.url))
        samples, rate = soundfile.read(recordings.path("telephone"), dtype="int16")
        found = of_type(stream(server.url(), start(rate, 1), samples.tobytes()), "segment")
    assert found
    assert all("text" in one for one in found)


def test_the_bot_of_pipecat_needs_nothing_until_it_runs() -> None:
    """tests/compat runs pipecat's services; here, that the example loads and where it connects to."""
    names = runpy.run_path(str(EXAMPLES / "pipecat" / "bot.py"))
    assert names["ADDRESS"] == "ws://localhost:8080"
    assert asyncio.iscoroutinefunction(names["main"])
