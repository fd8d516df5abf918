"""A driver process without Ray: its cluster is a directory, and the replicas run in the driver itself.

The application is the spec of a model, and the address a directory that exists. The file `replicas` there has their
number (without it, there is no application), and a call that returns is lost when there is a file `cut`, which goes
with it. `rate` has an option of the model, and while `hidden` is there, nobody answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from voxgate.inference.engine.processes.channel import ChannelClosed
from voxgate.inference.engine.processes.guarded_child import enter, leave
from voxgate.inference.engine.ray import driver
from voxgate.inference.engine.ray.messages import Call, FailureKind, Forget, ServerMessage, Unable
from voxgate.inference.engine.ray.replica import Replica

driver._LOOK_EVERY_S = 0.02  # type: ignore[misc]


class Cluster:
    def __init__(self, app: str, address: str) -> None:
        self.directory = Path(address)
        self._app = app
        self._replicas: list[Replica] = []
        self._turn = 0

    def _read(self, name: str) -> str:
        try:
            return (self.directory / name).read_text()
        except FileNotFoundError:
            return ""

    def look(self) -> tuple[int, str, str]:
        if self._read("hidden"):
            raise ConnectionError("nobody is there")
        count, rate = self._read("replicas"), self._read("rate") or "8000"
        if not count:
            return 0, "", f"there is no application {self._app!r}"
        if rate != getattr(self, "_rate", rate):
            self._replicas.clear()
        self._rate = rate
        while len(self._replicas) < int(count):
            options: dict[str, Any] = {"directory": str(self.directory)}
            if (self.directory / "rate").exists():
                options["rate"] = int(rate)
            self._replicas.append(Replica(self._app, options, tag=f"replica-{rate}-{len(self._replicas)}"))
        del self._replicas[int(count) :]
        return int(count), f"{rate}", "it starts"

    def find(self) -> bytes:
        return asyncio.run(self._replicas[0].describe())

    def ping(self) -> None:
        pass

    async def run(self, call: Call) -> AsyncIterator[bytes]:
        found = [replica for replica in self._replicas if replica._tag == call.replica]
        self._turn += 1
        replica = found[0] if found else self._replicas[self._turn % len(self._replicas)]
        audio = np.frombuffer(call.audio, np.float32)
        if call.streams:
            async for answer in replica.stream(call.call, audio):
                yield answer
        else:
            answer = await replica.run(call.call, audio)
            if self._read("cut"):
                (self.directory / "cut").unlink()
                raise ConnectionError("cut off")
            yield answer

    def forget(self, message: Forget) -> None:
        with (self.directory / "forgotten").open("a") as file:
            file.write(f"{message.replica} {message.numbers}\n")


def failure_kind(error: BaseException) -> tuple[FailureKind, str]:
    return "died" if isinstance(error, ConnectionError) else "bug", repr(error)


def main(
    app: str, address: str, lost_after_s: float, socket_fd: int, parent_pid: int, log_levels: Mapping[str, int]
) -> NoReturn:
    channel, log = enter(socket_fd, parent_pid, log_levels, ServerMessage)
    log.resume()
    try:
        if (Path(address) / "unable").exists():
            channel.send(Unable("this driver will not do"))
        else:
            cluster: Any = Cluster(app, address)
            driver.Driver(channel, cluster, failure_kind, lost_after_s).run()
    except ChannelClosed:
        pass
    leave(0)
