"""Servers on a cluster, and streams of bundled speech through them."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "bench"), str(ROOT / "tools")]

from server_process import ServerProcess

from voxgate.client import ClientError, stream
from voxgate.protocol.events import Error, Inactive, Segment
from voxgate.recordings import path, truth

__all__ = ["Heard", "edge", "run_in_own_network", "speak"]

RECORDING = "demo"


@dataclass
class Heard:
    """What one stream got."""

    finals: list[tuple[float, float, Any]] = field(default_factory=list)
    """Start, end and result of each final."""
    errors: list[str] = field(default_factory=list)
    utterances: int = 0
    """That the server has found."""
    closed: str = ""
    """Why the connection ended too early."""

    @property
    def is_answered(self) -> bool:
        """Every utterance of the recording was found, and has a result or an error."""
        n_spoken = sum(map(len, truth(RECORDING)))
        return not self.closed and self.utterances == n_spoken == len(self.finals) + len(self.errors)


async def speak(port: int, delay_s: float = 0.0, chunk_bytes: int = 3200) -> Heard:
    """The recording at live pace, in messages of so many bytes."""
    await asyncio.sleep(delay_s)
    heard, address = Heard(), f"ws://127.0.0.1:{port}/api/v1/segmented"
    try:
        async for event in stream(path(RECORDING), addr=address, chunk_size=chunk_bytes, real_time=True):
            if isinstance(event, Segment):
                heard.finals.append((event.start_time, event.end_time, dict(event.output)))
            elif isinstance(event, Inactive):
                heard.utterances += 1
            elif isinstance(event, Error):
                heard.errors.append(event.message)
    except ClientError as error:
        heard.closed = str(error)
    return heard


def edge(app: str = "voxgate", log: Path | None = None, **settings: Any) -> ServerProcess:
    """A server whose model is on the cluster."""
    plain = {key.replace("__", "."): value for key, value in settings.items()}
    return ServerProcess(
        {"inference.engine": "ray", "ray.address": "127.0.0.1:6379", "ray.app": app, "ray.lost_after_s": 10, **plain},
        log,
    )


def run_in_own_network() -> None:
    """Runs this program again in a network namespace of its own and exits as it does; in there, it does nothing."""
    import subprocess

    from tools.ray_nodes import in_own_network, own_network_command

    if in_own_network():
        return
    command = own_network_command([sys.executable, *sys.argv])
    if command is None:
        raise SystemExit("this needs a network namespace of its own: unshare (util-linux) and the right to use it")
    raise SystemExit(subprocess.run(command, check=False).returncode)
