"""Sources become audio in the format that is sent."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.server import ServerConnection

from helpers.client_stream import MONO, run, sent_by
from helpers.scripted_server import (
    receive_session,
)
from voxgate import client
from voxgate.protocol.formats import AudioFormat


def test_an_int_file_is_sent_as_s16(tmp_path: Any) -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_768, (5000, 2), dtype=np.int16)
    soundfile.write(tmp_path / "stereo.flac", samples, 44_100)
    received = sent_by(tmp_path / "stereo.flac")
    assert received.start["format"] == {"channels": 2, "sample_rate": 44_100, "bit_depth": 16, "is_float": False}
    assert received.audio == samples.astype("<i2").tobytes()


def test_a_float_file_is_sent_as_f32_and_s16_can_be_chosen(tmp_path: Any) -> None:
    samples = np.array([0.0, 0.25, -1.0, 1.0, 1.5, -2.0], dtype=np.float32)
    soundfile.write(tmp_path / "float.wav", samples, 48_000, subtype="FLOAT")
    received = sent_by(str(tmp_path / "float.wav"))
    assert received.start["format"] == {"channels": 1, "sample_rate": 48_000, "bit_depth": 32, "is_float": True}
    assert np.array_equal(np.frombuffer(received.audio, "<f4"), samples)
    received = sent_by(tmp_path / "float.wav", format=AudioFormat(1, 48_000, 16, False))
    assert np.frombuffer(received.audio, "<i2").tolist() == [0, 8192, -32_768, 32_767, 32_767, -32_768]


def test_s16_of_what_is_no_number_is_silence_as_on_the_wire() -> None:
    samples = np.array([0.5, np.nan, np.inf, -np.inf, -0.5], dtype=np.float32)
    received = sent_by((samples, 16_000), format=AudioFormat(1, 16_000, 16, False))
    assert np.frombuffer(received.audio, "<i2").tolist() == [16_384, 0, 0, 0, -16_384]


@pytest.mark.parametrize(("peak", "hint"), [(1.0, None), (1.5, ""), (20_000.0, "divide them by 32768")])
@pytest.mark.parametrize("kind", ["array", "file"])
def test_floats_beyond_full_scale_are_warned_of_once(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, kind: str, peak: float, hint: str | None
) -> None:
    samples = np.tile(np.array([0.1, -peak, np.nan], dtype=np.float32), 50_000)
    soundfile.write(tmp_path / "float.wav", samples, 16_000, subtype="FLOAT")
    sent_by(tmp_path / "float.wav" if kind == "file" else (samples, 16_000), chunk_size=8192)
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("voxgate.client")]
    if hint is None:
        assert warnings == []
    else:
        [text] = warnings
        assert f"floats reach {peak:g}, beyond full scale (-1..1), and the server clips them" in text
        assert hint in text


def test_a_compressed_file_is_clipped_not_wrapped(tmp_path: Any) -> None:
    rate = 16_000
    loud = np.sign(np.sin(2 * np.pi * 200 * np.arange(rate) / rate)).astype(np.float32)  # Vorbis overshoots this
    soundfile.write(tmp_path / "loud.ogg", loud, rate)
    decoded, _ = soundfile.read(tmp_path / "loud.ogg")
    received = sent_by(tmp_path / "loud.ogg", chunk_size=4096)
    got = np.frombuffer(received.audio, "<i2") / 32_768
    assert np.abs(decoded).max() > 1.0
    assert np.abs(got - np.clip(decoded, -1, 1)).max() < 1e-4


def test_an_open_file_is_a_sound_file_or_with_a_format_raw_pcm(tmp_path: Any) -> None:
    samples = np.arange(1000, dtype=np.int16)
    sound = io.BytesIO()
    soundfile.write(sound, samples, 16_000, format="WAV")
    sound.seek(0)
    assert sent_by(sound).audio == samples.tobytes()
    assert sent_by(io.BytesIO(samples.tobytes()), format=MONO).audio == samples.tobytes()


def test_float_planes_become_interleaved_f32() -> None:
    planes = np.array([[0.0, 0.5, 1.0], [-0.5, -0.25, 0.125]])
    received = sent_by((planes, 16_000))
    assert received.start["format"] == {"channels": 2, "sample_rate": 16_000, "bit_depth": 32, "is_float": True}
    assert np.frombuffer(received.audio, "<f4").tolist() == [0.0, -0.5, 0.5, -0.25, 1.0, 0.125]


def test_raw_pcm_of_any_format_from_iterables() -> None:
    mulaw = AudioFormat(1, 8000, 8, False, "mulaw")
    received = sent_by(iter([b"abc", b"", b"defgh"]), format=mulaw, chunk_size=4)
    assert received.start["format"]["encoding"] == "mulaw"
    assert received.audio == b"abcdefgh"
    assert received.lengths == [3, 4, 1]  # each block leaves when it comes

    async def blocks() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"defgh"

    assert sent_by(blocks(), format=mulaw).lengths == [3, 5]


def test_a_blocking_iterator_does_not_hold_the_loop() -> None:
    # The iterator waits for something that only the event loop can do: hear the first chunk at the server.
    heard = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"ab"
        assert heard.wait(30)
        yield b"cd"

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        assert await websocket.recv() == b"ab"
        heard.set()
        await receive_session(websocket)

    run(handler, blocks(), format=MONO)


def test_memory_for_a_long_file_is_bounded(tmp_path: Any) -> None:
    samples = np.zeros(4_000_000, dtype=np.int16)
    soundfile.write(tmp_path / "long.flac", samples, 16_000)
    stream = client.stream(tmp_path / "long.flac")
    longest = 0
    for block in stream._source.blocks:  # type: ignore[union-attr]
        longest = max(longest, len(block))
    assert longest <= 2 * 65_536
