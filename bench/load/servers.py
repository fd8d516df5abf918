"""The servers of the suite: each in a process of its own, on a core of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
START_TIMEOUT_S = 60.0
MANY = 100_000
# The load comes from one address, and nothing of it is to be refused.
SETTINGS = (
    f"limits.streams={MANY}",
    f"limits.streams_per_address={MANY}",
    "server.log_level=warning",
)


@dataclass(frozen=True)
class Server:
    address: str
    pid: int

    def serving(self) -> tuple[int, ...]:
        """The processes that serve: it, or what it has started with --workers."""
        return _children(self.pid) or (self.pid,)


@contextlib.contextmanager
def running(
    kind: str,
    cpu: int,
    settings: tuple[str, ...] = (),
    model: str = "nothing:count",
    variables: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """`kind` is voxgate or plain; settings, model and environment variables are for Voxgate."""
    if kind == "voxgate":
        options = [f"--set={setting}" for setting in (*SETTINGS, *settings)]
        command = ["-m", "voxgate", "serve", "--port=0", f"--model={model}", *options]
    else:
        port = _free_port()
        command = [str(HERE / "plain_server.py"), f"--port={port}"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=HERE,  # where the model is
            env={**os.environ, **(variables or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        )
        try:
            if kind == "voxgate":
                assert process.stdout is not None
                match = re.search(r"listening on http://(\S+)", process.stdout.readline())
                address = match[1] if match else None
            else:
                address = _await_port(port, process)
            if address is None:
                process.wait()
                log.seek(0)
                raise SystemExit(f"the {kind} server did not start:\n{log.read()[-2000:]}")
            yield Server(address, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pin(pid: int, cpu: int) -> None:
    """All threads of a process, and those which they will start."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {cpu})


def _children(pid: int) -> tuple[int, ...]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found += map(int, (thread / "children").read_text().split())
    return tuple(found)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _await_port(port: int, process: subprocess.Popen[str]) -> str | None:
    until_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return f"127.0.0.1:{port}"
        time.sleep(0.1)
    return None
