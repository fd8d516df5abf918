"""The program of one of several server processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from voxgate.config import load_config
from voxgate.runtime.python_process import start_python
from voxgate.server.lifeline import ReportReader


def command(*arguments: str) -> list[str]:
    fixed = ["--port", "0", "--workers", "2", "--set", "vad.detector=energy", "--set", "inference.warm_up=true"]
    return [sys.executable, "-m", "voxgate", "serve", *fixed, *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_")}


def test_a_process_that_is_ready_but_cannot_serve_says_so(tmp_path):
    """A socket for its peers has no place in a directory with a long name."""
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    (tmp_path / "mymodel.py").write_text("def count(audio):\n    return {}\n")
    ended = subprocess.run(
        command("--model", "mymodel:count"),
        cwd=tmp_path,
        env={**environment(), "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "cannot serve: AF_UNIX path too long" in ended.stderr


def test_without_its_supervisor_a_process_ends_and_removes_the_directory(tmp_path):
    directory = tmp_path / "sockets"
    directory.mkdir()
    ours, theirs = socket.socketpair()
    config = load_config(environ={}, overrides={"server.port": 0, "server.workers": 2, "vad.detector": "energy"})
    arguments = {"config": config, "number": 0, "directory": str(directory), "socket_fd": theirs.fileno()}
    process = start_python(
        "voxgate.server.worker",
        {**arguments, "is_replacement": False},
        pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE,
    )
    theirs.close()
    reader, reports = ReportReader(), []
    ours.settimeout(60)
    with ours:
        while not reports:
            reports += reader.feed(ours.recv(65_536))
    assert reports == [None]
    assert process.wait(30) == 1
    assert not directory.exists()
    assert process.stderr is not None
    process.stderr.close()
