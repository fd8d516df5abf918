"""`voxgate serve` as a process of its own, and what the kernel says about it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START_S = 60


class ServerProcess:
    """Started by entering, ended by leaving. Its log goes to `log`, or nowhere. `program`: arguments of Python in front
    of `serve`.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        log: Path | None = None,
        variables: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "voxgate"),
    ) -> None:
        flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}") if key != "model"]
        model = ["--model", str(settings["model"])] if "model" in settings else []
        # Secrets of the one who runs this, and his settings, are none of its business.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_")}
        environment |= variables or {}
        self._log = log.open("w") if log is not None else subprocess.DEVNULL
        self._process = subprocess.Popen(
            [sys.executable, *program, "serve", "--port", "0", "--set", "metrics.max_age_s=0", *model, *flags],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise RuntimeError(f"the server did not start: {line!r}, exit code {self._process.wait(START_S)}")
        self.port = int(found[1])
        grpc = re.search(r"grpc://127\.0\.0\.1:(\d+)", line)
        self.grpc_port = None if grpc is None else int(grpc[1])
        self.pid = self._process.pid

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._process.terminate()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._log is not subprocess.DEVNULL:
            self._log.close()

    def url(self, route: str) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/{route}"

    def metrics(self) -> dict[str, float]:
        """Every sample at /metrics, by its name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def pids(self) -> list[int]:
        """The server and its worker processes."""
        children = Path(f"/proc/{self.pid}/task")
        found = [self.pid]
        for thread in children.iterdir():
            try:
                found += map(int, (thread / "children").read_text().split())
            except OSError:
                continue  # a thread that has just ended
        return found

    def held(self) -> dict[str, int]:
        """Of the server process: resident memory, threads, descriptors; streams and tasks as it counts them itself."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        metrics = self.metrics()
        return {
            "rss_bytes": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024,  # type: ignore[index]
            "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),  # type: ignore[index]
            "descriptors": len(os.listdir(f"/proc/{self.pid}/fd")),
            "streams": int(sum(value for name, value in metrics.items() if name.startswith(STREAMS))),
            "tasks": int(sum(value for name, value in metrics.items() if name.startswith(TASKS))),
        }

    def reset_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most memory that was resident since `reset_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


STREAMS = "voxgate_streams_active{"
TASKS = "voxgate_tasks{"
