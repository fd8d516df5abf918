"""A server of its own for a figure or a picture: `voxgate serve` as a process, with any settings, on a free port.

import live                                       # with tools/ on the path
with live.server("dummy", **{"model.delay": 0.1}) as served:
    events = voxgate.client.collect(sound, addr=served.url("simple"))
    served.cpu_s()
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))


@dataclass(frozen=True)
class Served:
    """A server that is ready."""

    address: str
    """host:port"""
    pid: int

    def url(self, route: str = "segmented") -> str:
        return f"ws://{self.address}/api/v1/{route}"

    def cpu_s(self) -> float:
        """CPU time of the process so far, user and system, in seconds."""
        return process_cpu_s(self.pid)


def process_cpu_s(pid: int) -> float:
    """CPU time of a process so far, user and system, in seconds, to a hundredth or so."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(model: str = "features", **settings: Any) -> Iterator[Served]:
    """Until the end of the `with`; then it is asked to end at once. RuntimeError when it does not start."""
    options = [f"--set={key}={value}" for key, value in {"server.drain_s": 0, **settings}.items()]
    command = [sys.executable, "-m", "voxgate", "serve", "--port", "0", "--model", model, "--log-level", "error"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # "voxgate listening on http://127.0.0.1:41235"
            if "://" not in line:
                raise RuntimeError(f"the server did not start: {' '.join(command)}")
            yield Served(line.rpartition("://")[2].strip(), process.pid)
        finally:
            process.terminate()
            process.wait(30)
