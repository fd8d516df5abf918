"""`voxgate serve` as a process of its own, on a port that it may come back to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ServeProcess"]

TESTS = Path(__file__).parents[1]


class ServeProcess:
    """Started by the constructor; `wait_ready` waits for it, so that several can start together."""

    def __init__(self, port: int, model: str, settings: Mapping[str, Any] = {}, prefix: Sequence[str] = ()) -> None:
        """`model`: of `helpers`, such as ``helpers.worker_models:count``; empty: none is named. `prefix`: the command
        that runs it.
        """
        flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}")]
        named = ["--model", model] if model else []
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_")}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed by `wait`
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "voxgate", "serve", "--port", str(port), *named, *flags],
            env={**inherited, "PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.port = port
        self.pid = self._process.pid

    def wait_ready(self) -> ServeProcess:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if f":{self.port}" not in line:
            self._log.seek(0)
            raise AssertionError(f"{line!r}, exit code {self._process.wait(60)}: {self._log.read()[-3000:]}")
        return self

    def terminate(self) -> None:
        """SIGTERM: it drains."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code."""
        code = self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()
        return code

    def kill(self) -> None:
        self._process.kill()
        self.wait()
