"""One process: what it prints, how it ends, and what it says when it cannot start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.wire import start, stream

MODEL = """
import voxgate

def count(audio):
    return {"count": len(audio)}

class Broken(voxgate.Model):
    def warm_up(self):
        raise OSError("weights are missing")
    def infer(self, audio):
        return {}
"""


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "mymodel.py").write_text(MODEL)
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "voxgate", "serve", "--port", "0", *arguments]


def environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_") or name == "VOXGATE_ISA"
    }


def fails(project: Path, *arguments: str) -> str:
    ended = subprocess.run(
        command(*arguments), cwd=project, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2, ended
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_a_model_of_the_current_directory_until_a_signal(project, number):
    with subprocess.Popen(
        command("--model", "mymodel:count"), cwd=project, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.fullmatch(r"voxgate listening on http://(127\.0\.0\.1:\d+)\n", line)
        assert match, line
        assert stream(f"ws://{match[1]}/api/v1/simple", start(), bytes(3200))[0]["count"] == 1600
        process.send_signal(number)
        assert process.wait(30) == 0
        websocket = f"ws://{match[1]}/api/v1/segmented"
        assert process.stdout.read().splitlines() == [
            f"  page        http://{match[1]}/",
            f"  websocket   {websocket}",
            f"  next, try   voxgate client demo --addr {websocket}",
        ]


LOADING = {
    "import": "print('loading\\n', end='', flush=True); time.sleep(3600)",
    "make": """
class Slow(voxgate.Model):
    def __init__(self):
        print('loading\\n', end='', flush=True)
        time.sleep(3600)
""",
    # As a library does that waits in C: Python runs no handler there, and no signal interrupts it.
    "in C": """
import ctypes
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
print('loading\\n', end='', flush=True)
libc.pthread_mutex_lock(mutex)
""",
}


@pytest.mark.parametrize(
    ("where", "isolation", "workers"),
    [
        ("import", "threads", 1),
        ("make", "threads", 1),
        ("in C", "threads", 1),
        ("make", "process", 1),
        ("make", "threads", 2),
        ("make", "process", 2),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_model_loads(tmp_path, number, where, isolation, workers):
    (tmp_path / "mymodel.py").write_text(f"import time, voxgate\n{LOADING[where]}")
    settings = ["--set", f"inference.engine={isolation}", "--set", f"server.workers={workers}"]
    with subprocess.Popen(
        command("--model", "mymodel:Slow", *settings),
        cwd=tmp_path,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert "loading\n" in lines
        process.send_signal(number)
        assert process.wait(30) == 0
        assert "Traceback" not in process.stdout.read()


def test_a_model_that_cannot_warm_up_ends_the_start(project):
    error = fails(project, "--model", "mymodel:Broken")
    assert "OSError: weights are missing (mymodel.py, line 9, in warm_up)" in error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--model", "mymodel:nothing"], "mymodel:nothing"),
        (["--model", "nomodule:thing"], "nomodule"),
        (["--set", "vad.threshold=2"], "vad.threshold must be"),
        (["--set", "vad.treshold=0.5"], "vad.threshold"),
        (["--set", "nonsense"], "--set nonsense: expected KEY=VALUE"),
        (["--set", "=1"], "--set =1: expected KEY=VALUE"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--set", "vad.weights=nowhere.bin"], "nowhere.bin"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_it_listens(project, arguments, text):
    error = fails(project, "--model", "mymodel:count", *arguments)
    assert text in error
    assert error.splitlines()[-1].startswith("voxgate: ")


def test_a_port_that_is_taken(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = fails(project, "--model", "mymodel:count", "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}" in error


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="the pipe's size cannot be set here")
def test_a_log_that_nobody_reads_holds_nobody(project):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(1024))
    os.set_blocking(writing, True)
    with subprocess.Popen(
        command("--model", "mymodel:count"),
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1].replace("http", "ws")
        for _ in range(20):
            assert stream(f"{url}/api/v1/simple", start(), bytes(3200))[0]["count"] == 1600
        process.terminate()
        assert process.wait(30) == 0
    os.close(reading)
    os.close(writing)
