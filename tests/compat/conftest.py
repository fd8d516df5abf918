"""A real server with a real model, and the SDKs of other services, each in its own virtual environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.wire import Client
from helpers.wires import TALK, words_of_length
from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.testing import LocalServer, serving

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / "build" / "compat"
KEY = "a-key-for-the-tests"
TIMEOUT_S = 240

RunSdk = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Recording:
    """A bundled recording as s16 PCM in a file, and what `voxgate client` prints for it."""

    path: Path
    rate: int
    segments: list[dict[str, Any]]

    @property
    def texts(self) -> list[str]:
        return [segment["text"] for segment in self.segments]

    @property
    def duration_s(self) -> float:
        return self.path.stat().st_size / 2 / self.rate


@pytest.fixture(scope="session")
def speech_server() -> Iterator[LocalServer]:
    pytest.importorskip("moonshine_voice", reason="the extra moonshine is not installed")
    # What shares a batch would change a word now and then, and a client that a busy machine holds up would cut speech.
    settings = {"auth.tokens": KEY, "model.batch": False, "vad.stall_flush_ms": 60_000}
    with serving("moonshine", settings) as server:
        yield server


@pytest.fixture(scope="session")
def speech(speech_server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    made: dict[str, Recording] = {}

    def get(name: str) -> Recording:
        if name not in made:
            planes, rate = read_audio(recordings.path(name))
            samples = np.clip(np.round(planes[0] * 32768), -32768, 32767).astype("<i2")
            path = tmp_path_factory.mktemp("speech") / f"{name}.raw"
            path.write_bytes(samples.tobytes())
            made[name] = Recording(path, rate, native_segments(speech_server, path, rate))
        return made[name]

    return get


def native_segments(server: LocalServer, path: Path, rate: int) -> list[dict[str, Any]]:
    """The finals that `voxgate client` prints for a file of PCM."""
    command = [sys.executable, "-m", "voxgate", "client", "-i", "-", "--rate", str(rate), "--addr"]
    command += [server.url(), "--token", KEY, "--format", "jsonl"]
    with open(path, "rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return [event for event in events if event["type"] == "segment"]


@pytest.fixture
def five_seconds(speech: Callable[[str], Recording], tmp_path: Path) -> Path:
    """The beginning of `demo`: it ends within a sentence."""
    path = tmp_path / "part.raw"
    path.write_bytes(speech("demo").path.read_bytes()[: 2 * 16_000 * 5])
    return path


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Two bursts, for models that understand no speech."""
    path = tmp_path / "talk.raw"
    path.write_bytes(TALK)
    return path


@pytest.fixture
def full_server(serve: Callable[..., LocalServer]) -> Iterator[LocalServer]:
    """One stream is open, and stays open however long an SDK takes to start."""
    server = serve(words_of_length, **{"limits.streams": 1, "limits.start_timeout_s": TIMEOUT_S})
    with Client(server.url()):
        yield server


@pytest.fixture
def run_sdk() -> RunSdk:
    """``run_sdk("deepgram", "deepgram_sdk", server, path, key=..., flush=..., **options)``: what the script found."""

    def run(
        environment: str,
        script: str,
        server: LocalServer,
        audio: Path,
        *,
        key: str = KEY,
        flush: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        python = ENVIRONMENTS / environment / "bin" / "python"
        if not python.exists():
            pytest.skip(f"`make compat` installs the SDKs of {environment}")
        rate = options.pop("rate", 16_000)
        task = {
            "url": server.http(""),
            "key": key,
            "audio": str(audio),
            "rate": rate,
            "flush": flush,
            "options": options,
        }
        command = [str(python), str(HERE / "scripts" / f"{script}.py"), json.dumps(task)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr[-4000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run
