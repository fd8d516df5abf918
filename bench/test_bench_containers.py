"""12.5 s of speech in a container to PCM: ours, PyAV on the whole file, and one ffmpeg process.

WebM and Ogg come in chunks of 300 ms, as Chromium sends them; PyAV and ffmpeg get everything at once, which is easier.
Opus goes to 16 kHz in ours; PyAV decodes to 48 kHz, and ffmpeg resamples to 16 kHz.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import av
import pytest

from voxgate.audio.containers import opus
from voxgate.audio.containers.encoding import encode, encode_live
from voxgate.audio.containers.flac import FlacContainer
from voxgate.audio.containers.ogg import OggContainer
from voxgate.audio.containers.opus import load_libopus
from voxgate.audio.containers.wav import WavContainer
from voxgate.audio.containers.webm import WebmContainer
from voxgate.audio.files.read import read_audio
from voxgate.recordings import path

SPEECH, RATE = read_audio(path("demo"))
CONTAINERS: dict[str, Callable[[], Any]] = {
    "webm": lambda: WebmContainer(RATE),
    "ogg": lambda: OggContainer(RATE),
    "flac": FlacContainer,
    "wav": WavContainer,
}


@cache
def chunks(name: str) -> list[bytes]:
    if name in ("webm", "ogg"):
        return encode_live(SPEECH, RATE, name, 300)
    data = encode(SPEECH, RATE, name)
    return [data[at : at + 10_000] for at in range(0, len(data), 10_000)]


def decode(container: Any, parts: list[bytes]) -> int:
    return sum(len(pcm) for part in [*parts, None] for pcm in pieces(container, part))


def pieces(container: Any, part: bytes | None) -> Iterator[bytes]:
    return container.finish() if part is None else container.push(part)


@pytest.fixture(params=CONTAINERS, autouse=True)
def name(request, benchmark) -> str:
    benchmark.group = f"12.5 s of speech in {request.param} to PCM"
    return request.param


def test_voxgate(benchmark, name):
    if name in ("webm", "ogg") and load_libopus() is None:
        pytest.skip("no libopus")
    n_bytes = benchmark(lambda: decode(CONTAINERS[name](), chunks(name)))
    assert n_bytes >= SPEECH.shape[1] * 2


def test_pyav_codec_context(benchmark, name, monkeypatch):
    """Our demuxer, and PyAV's decoder."""
    if name not in ("webm", "ogg"):
        pytest.skip("decoded by our own code alone")
    monkeypatch.setattr(opus, "load_libopus", lambda: None)
    benchmark(lambda: decode(CONTAINERS[name](), chunks(name)))


def test_pyav_open(benchmark, name):
    data = b"".join(chunks(name))

    def run() -> int:
        with av.open(io.BytesIO(data)) as container:
            return sum(frame.to_ndarray().nbytes for frame in container.decode(audio=0))

    assert benchmark(run) > 0


def test_ffmpeg_process(benchmark, name):
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    data = b"".join(chunks(name))
    command = ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-"]
    assert len(benchmark(lambda: subprocess.run(command, input=data, capture_output=True, check=True).stdout)) > 0
