"""The worker's side, without a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from voxgate.inference.engine.processes import worker
from voxgate.inference.engine.processes.arena import SharedArena
from voxgate.inference.engine.processes.channel import Channel
from voxgate.inference.engine.processes.messages import (
    Answer,
    Loaded,
    Prepare,
    Quit,
    Refused,
    Run,
    Trial,
    Warm,
)
from voxgate.inference.engine.processes.outcomes import decode_outcome
from voxgate.models.request import Request


class Quiet:
    """In place of the log of a worker: these tests share their process with it."""

    def resume(self) -> None: ...

    def defer(self) -> None: ...


def test_a_conversation(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    arena = SharedArena()
    arena.resize(4096)
    thread = threading.Thread(
        target=worker._serve, args=(theirs, Quiet(), "helpers.worker_models:Together", {"directory": ""}, arena.fd)
    )
    thread.start()
    assert ours.receive() == Loaded("together", 8_000, None, False, True, False, True, None, False, None)
    ours.send(Prepare(4096, True))
    assert ours.receive() == Warm()
    ours.send(Trial(2))
    answer = ours.receive()
    assert isinstance(answer, Answer)
    assert len(answer.outcomes) == 2
    np.frombuffer(arena.memory, np.float32, 6)[:] = [0, 1, 1, 0, 2, 9]
    ours.send(Run([3, 2], [Request(), Request()]))
    answer = ours.receive()
    assert isinstance(answer, Answer)
    assert [decode_outcome(sent) for sent in answer.outcomes] == [
        {"count": 3, "sum": 2.0, "of": 2},
        {"count": 2, "sum": 2.0, "of": 2},
    ]
    ours.send(Quit())
    thread.join(30)
    assert not thread.is_alive()
    arena.close()


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ("helpers.worker_models:Nothing", {}, "no attribute 'Nothing'"),
        ("helpers.worker_models:Fatal", {"where": "error"}, "warm-up of model 'Fatal' failed: OSError: no weights"),
    ],
)
def test_a_model_that_will_not_start_is_refused(
    channels: tuple[Channel, Channel], spec: str, options: Any, text: str
) -> None:
    ours, theirs = channels
    arena = SharedArena()
    arena.resize(4)
    ours.send(Prepare(4, True))
    worker._serve(theirs, Quiet(), spec, options, arena.fd)  # type: ignore[arg-type]
    answer = ours.receive()
    if isinstance(answer, Loaded):
        answer = ours.receive()
    assert isinstance(answer, Refused)
    assert text in answer.text
    arena.close()


def test_a_worker_without_its_server_ends_at_once() -> None:
    start = "from voxgate.inference.engine.processes.worker import main; main('dummy', {}, 0, 0, 1 << 30, {})"
    ended = subprocess.run([sys.executable, "-c", start], stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert ended.returncode == 1
