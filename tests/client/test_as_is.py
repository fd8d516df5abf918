"""Files that the client sends as they are: which ones, how, and what it learns of them from the server."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.fake_clock import FakeClock
from helpers.media import RATE, SPEECH, live_speech, speech
from helpers.scripted_server import Received, active, answering, final, inactive, receive_session, send, serving
from helpers.scripted_server import segment as result
from voxgate import client
from voxgate.cli import client as verb
from voxgate.client import AudioFormat, ContainerFormat, Reconnect, Resumed
from voxgate.client.as_is import PrefixedFile
from voxgate.models import Model
from voxgate.protocol.events import Active, Error, Event, Finished, Inactive, Segment, Started
from voxgate.protocol.formats import MediaFormat

pytest.importorskip("av")


class Both(Model):
    def infer(self, audio):
        return {"count": len(audio)}

    def open(self):
        return None

    def step(self, audio, state):
        return {"count": len(audio)}


@pytest.fixture
def m4a(tmp_path: Path) -> Path:
    path = tmp_path / "talk.m4a"
    path.write_bytes(speech("mp4"))
    return path


def started(channels: int = 1, container: str = "mp4") -> dict[str, Any]:
    return {
        **{"type": "started", "session_id": "x", "model": "m", "limits": {}, "channel": 0},
        "format": {"container": container, "channels": channels, "sample_rate": 48_000},
    }


def finished(received_s: float) -> dict[str, Any]:
    return {
        **{"type": "finished", "received_s": received_s, "processed_s": received_s},
        **{"results": 1, "errors": 0, "channel": 0},
    }


def run(
    handler: Any, source: Any, path: str = "/api/v1/segmented", **options: Any
) -> tuple[list[Event], client.Stream]:
    async def main() -> tuple[list[Event], client.Stream]:
        async with serving(handler, path) as addr:
            stream = client.stream(source, addr=addr, **options)
            return [event async for event in stream], stream

    return asyncio.run(asyncio.wait_for(main(), 60))


def sent_by(source: Any, **options: Any) -> Received:
    sessions: list[Received] = []
    run(answering(started(), finished(0.0), sessions=sessions), source, **options)
    return sessions[0]


def test_a_file_that_only_a_server_reads_is_sent_unchanged(m4a):
    data = m4a.read_bytes()
    for source in (m4a, str(m4a), io.BytesIO(data)):
        received = sent_by(source)
        assert received.start["format"] == {"container": "auto"}
        assert received.start["notices"] is True  # who else says how many channels there are
        assert received.audio == data


def test_any_file_is_sent_unchanged_on_demand(tmp_path):
    path = tmp_path / "talk.flac"
    path.write_bytes(data := speech("flac"))
    assert sent_by(path).start["format"]["bit_depth"] == 16  # decoded here
    received = sent_by(path, as_is=True)
    assert (received.start["format"], received.audio) == ({"container": "auto"}, data)
    received = sent_by(path, format=ContainerFormat("flac"))
    assert (received.start["format"], received.audio) == ({"container": "flac"}, data)


def test_containers_come_from_any_kind_of_bytes():
    data = live_speech("mp3")
    parts = [data[:100], data[100:]]

    async def live() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    for source in (data, bytearray(data), parts, live(), io.BytesIO(data)):
        received = sent_by(source, format=ContainerFormat("mp3"))
        assert (received.start["format"], received.audio) == ({"container": "mp3"}, data)


def test_a_pipe_is_looked_at_without_losing_a_byte(tmp_path):
    for data, is_pcm in ((speech("mp4", 1.0), False), (speech("wav", 1.0), True)):
        reading, writing = os.pipe()
        writer = threading.Thread(target=lambda fd=writing, data=data: (os.write(fd, data), os.close(fd)))
        writer.start()
        with open(reading, "rb", buffering=0) as pipe:
            received = sent_by(pipe)
        writer.join()
        if is_pcm:
            assert received.start["format"]["sample_rate"] == RATE
            assert received.audio == data[44:]
        else:
            assert received.audio == data


def test_a_prefixed_file_gives_the_head_and_then_the_pipe():
    file = PrefixedFile(b"head", io.BytesIO(b"rest of it"))
    assert [file.read(2), file.read1(100), file.read(4), file.read1(), file.read()] == [
        *(b"he", b"ad", b"rest", b" of it", b""),
    ]


def test_what_does_not_go_together_is_refused(m4a, tmp_path):
    with pytest.raises(ValueError, match="as_is: expected no format of PCM"):
        client.stream(m4a, as_is=True, format=AudioFormat(1, RATE, 16, False))
    with pytest.raises(ValueError, match="arrays and microphones are PCM"):
        client.stream((np.zeros(10), RATE), as_is=True)
    with pytest.raises(ValueError, match=r'format\.container must be one of "auto".*got "avi"'):
        client.stream(m4a, format=ContainerFormat("avi"))
    with pytest.raises(ValueError, match="real_time: the length of this container is not known"):
        client.stream(m4a, real_time=True)
    with pytest.raises(FileNotFoundError):
        client.stream(tmp_path / "nothing.m4a", as_is=True)
    text = tmp_path / "notes.txt"
    text.write_text("what soundfile does not read is not sent for that alone")
    with pytest.raises(client.SourceError):
        client.stream(text)


def test_a_file_of_known_length_is_paced_by_its_bytes(tmp_path):
    path = tmp_path / "talk.flac"
    path.write_bytes(speech("flac"))
    clock = FakeClock()
    run(answering(started(), finished(2.0)), path, as_is=True, real_time=True, clock=clock)
    assert clock.now_s == pytest.approx(102.0)


def test_the_server_tells_channels_and_what_it_decoded():
    events = (
        *(started(2), active(0.1), active(0.2, 1), inactive(0.6), inactive(0.7, 1)),
        *(final(0.1, 0.6), final(0.2, 0.7, 1), finished(2.5)),
    )
    got, stream = run(answering(*events), speech("mp4"), as_is=True)
    assert [type(event) for event in got] == [Active, Active, Inactive, Inactive, Segment, Segment]
    assert stream.media == MediaFormat("mp4", 2, 48_000)
    assert (stream.channels, stream.sent_s) == (2, 2.5)
    got, _ = run(answering(*events), speech("mp4"), as_is=True, notices=True)
    assert got[0] == Started("x", "m", {}, format=MediaFormat("mp4", 2, 48_000))
    assert isinstance(got[-1], Finished)


def test_missing_results_are_found_by_what_the_server_decoded():
    with pytest.raises(client.MissingResults, match=r"no result for 1\.000-2\.000 s"):
        run(answering(started(), result(0.0, 1.0), finished(2.0)), speech("mp4"), "/api/v1/simple", as_is=True)


def test_after_an_error_of_the_container_no_more_is_sent():
    heard: list[int] = []

    async def handler(websocket: Any) -> None:
        await websocket.recv()
        first = await websocket.recv()
        error = {"type": "error", "message": "m", "code": "invalid_media", "channel": 0}
        await send(websocket, started(), error)
        n_bytes = len(first)
        async for message in websocket:
            if isinstance(message, str):
                break
            n_bytes += len(message)
        heard.append(n_bytes)
        await send(websocket, finished(0.0))
        await websocket.close(1000)

    gate: list[asyncio.Event] = []

    async def endless() -> AsyncIterator[bytes]:
        yield b"one"
        gate.append(asyncio.Event())
        await gate[0].wait()  # a recorder that never ends by itself
        yield b"two"

    got, _ = run(handler, endless(), format=ContainerFormat("webm"))
    assert got == [Error("m", "invalid_media")]
    assert heard == [3]


def test_after_a_lost_connection_the_whole_container_is_sent_again():
    data = live_speech("mp3")
    sessions: list[Received] = []
    first = (started(), active(0.5), inactive(1.0), final(0.5, 1.0, text="one"), active(1.5))
    again = (
        *(started(), active(0.5), inactive(1.0), final(0.5, 1.0, text="one")),
        *(active(1.5), inactive(2.0), final(1.5, 2.0, text="two"), finished(2.0)),
    )

    async def handler(websocket: Any) -> None:
        sessions.append(await receive_session(websocket))
        await send(websocket, *(first if len(sessions) == 1 else again))
        await websocket.close(1001 if len(sessions) == 1 else 1000)

    notices: list[Any] = []
    got, stream = run(
        *(handler, data),
        format=ContainerFormat("mp3"),
        reconnect=Reconnect(on_notice=notices.append),
        clock=FakeClock(),
    )
    assert [session.audio for session in sessions] == [data, data]
    assert [event for event in got if isinstance(event, Segment)] == [
        Segment(0.5, 1.0, True, {"text": "one"}),
        Segment(1.5, 2.0, True, {"text": "two"}),
    ]
    assert [(one.at_s, one.gap_s) for one in notices if isinstance(one, Resumed)] == [(0.0, 0.0)]
    assert (stream.check.n_results, stream.sent_s) == (2, 2.0)


def test_a_container_whose_beginning_is_gone_is_not_resumed():
    async def handler(websocket: Any) -> None:
        await receive_session(websocket)
        await websocket.close(1001)

    with pytest.raises(client.ClosedError):
        run(
            *(handler, [bytes(5000)] * 3),
            format=ContainerFormat("mp3"),
            reconnect=Reconnect(backlog_bytes=6000, attempts=2),
            clock=FakeClock(),
        )


def test_what_soundfile_does_not_read_goes_to_the_server_too(serve: Callable[..., Any], tmp_path):
    path = tmp_path / "talk.aac"
    path.write_bytes(speech("aac"))
    events = client.collect(path, addr=serve(Both()).url("segmented"), notices=True)
    assert events[0].format == MediaFormat("aac", 1, RATE)
    path.write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(client.SourceError, match="not an audio file"):
        client.collect(path, addr="127.0.0.1:9")


@pytest.mark.parametrize("route", ["segmented", "simple", "stateful"])
def test_a_real_server_decodes_it(serve: Callable[..., Any], m4a, route):
    server = serve(Both(), **{"simple.min_chunk_ms": 500})
    events = client.collect(m4a, addr=server.url(route))
    assert [event for event in events if isinstance(event, Segment)]
    pcm = client.collect((SPEECH[:, : 2 * RATE], RATE), addr=server.url(route))
    if route == "segmented":
        assert len(events) == len(pcm)
    events = client.collect(m4a, addr=server.url(route), as_is=True, notices=True)
    assert events[0].format == MediaFormat("mp4", 1, RATE)


def test_the_command_sends_files_as_they_are(serve, m4a, tmp_path, capsys):
    server = serve(Both())

    def run(*arguments: str) -> int:
        import argparse

        parser = argparse.ArgumentParser(prog="voxgate")
        verb.register(parser.add_subparsers())
        args = parser.parse_args(["client", "--addr", server.url("simple"), *arguments])
        return args.run(args)

    assert run("-i", str(m4a)) == 0
    out = capsys.readouterr().out
    assert "talk.m4a: a container, sent as it is, to ws://127.0.0.1:" in out
    assert "0 errors" in out
    flac = tmp_path / "talk.flac"
    flac.write_bytes(speech("flac"))
    assert run("-i", str(flac)) == 0
    assert "talk.flac: 2.0 s, 16000 Hz, 1 channel, s16, to" in capsys.readouterr().out
    assert run("-i", str(m4a), "--plot", str(tmp_path / "x.png")) == 2
    assert "--plot draws the waveform" in capsys.readouterr().err
    assert run("-i", "-", "--as-is", "--rate", "16000") == 2
    assert "--as-is sends a file" in capsys.readouterr().err
    assert run("-i", "mic", "--as-is") == 2
    assert "--as-is is not supported for a microphone" in capsys.readouterr().err
    broken = tmp_path / "broken.m4a"
    broken.write_bytes(m4a.read_bytes()[:-3000])
    assert run("-i", str(broken)) == 1
    assert "truncated_media" in capsys.readouterr().out
