"""A replica without Ray."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from helpers import cluster_models as does
from helpers.cluster import until
from voxgate.errors import ModelLoadError
from voxgate.inference.engine.processes.messages import Partial
from voxgate.inference.engine.processes.outcomes import decode_outcome
from voxgate.inference.engine.ray import replica as replica_module
from voxgate.inference.engine.ray.messages import Facts, PlacedAnswer, ReplicaAnswer, ReplicaCall, StateRef
from voxgate.inference.engine.ray.replica import Replica
from voxgate.models.request import Request

Made = Callable[..., Replica]


def make(directory: Path, model: str = "Actor", **more: Any) -> Replica:
    return Replica(f"helpers.cluster_models:{model}", {"directory": str(directory)}, tag="r1", **more)


def call(*whats: int, rate: int = 8_000, state: StateRef | None = None) -> tuple[bytes, np.ndarray]:
    """A call with a row of three samples for each of `whats`."""
    audio = np.zeros((len(whats), 3), np.float32)
    audio[:, 0] = whats
    audio.setflags(write=False)  # As in Ray's memory.
    encoded = ReplicaCall([3] * len(whats), [Request() for _ in whats], rate, state)
    return msgspec.msgpack.encode(encoded), audio.reshape(-1)


def placed(encoded: bytes) -> PlacedAnswer:
    answer = msgspec.msgpack.decode(encoded, type=ReplicaAnswer)
    assert isinstance(answer, PlacedAnswer)
    return answer


def run(replica: Replica, *whats: int, **more: Any) -> PlacedAnswer:
    return placed(asyncio.run(replica.run(*call(*whats, **more))))


def results(answer: PlacedAnswer) -> list[Any]:
    return [decode_outcome(sent) for sent in answer.answer.outcomes]


def test_it_describes_its_model(tmp_path: Path) -> None:
    facts = msgspec.msgpack.decode(asyncio.run(make(tmp_path, calls=5).describe()), type=Facts)
    assert (facts.calls, facts.model.name, facts.model.sample_rate, facts.model.batches) == (5, "Actor", 8_000, True)
    assert facts.model.gives_text is False  # As the trial call showed.


def test_batches_and_a_model_that_changes_its_audio(tmp_path: Path) -> None:
    replica = make(tmp_path)
    answer = run(replica, does.COUNT, does.CHANGE)
    assert [(found["count"], found["of"]) for found in results(answer)] == [(3, 2), (3, 2)]
    assert answer.replica == "r1"
    assert results(run(replica, does.CHANGE))[0]["count"] == 3


def test_a_call_for_another_rate_is_not_made(tmp_path: Path) -> None:
    answer = run(make(tmp_path), does.CRASH, rate=16_000)
    assert (answer.bad_rate, answer.answer.outcomes) == (8_000, [])


def test_states(tmp_path: Path) -> None:
    now_s = [0.0]
    replica = make(tmp_path, clock=lambda: now_s[0])

    def step(number: int, place: str, server: str = "s") -> PlacedAnswer:
        return run(replica, does.COUNT, state=StateRef("step", server, number, place))

    assert [results(step(1, place))[0]["total"] for place in ("", "r1", "r1")] == [3, 6, 9]
    assert step(1, "r2").is_lost  # Of another replica,
    assert step(2, "r1").is_lost  # never opened,
    assert step(1, "r1", server="t").is_lost  # or of another server.
    asyncio.run(replica.forget("s", "r2", [1]))
    assert results(step(1, "r1"))[0]["total"] == 12
    asyncio.run(replica.forget("s", "r1", [1]))
    assert step(1, "r1").is_lost
    step(3, "")
    now_s[0] = replica_module._STATE_IDLE_S + 1
    asyncio.run(replica.check_health())
    assert step(3, "r1").is_lost


def test_a_call_that_hangs_makes_it_unhealthy(tmp_path: Path) -> None:
    now_s = [0.0]
    replica = make(tmp_path, hang_timeout_s=5.0, clock=lambda: now_s[0])
    hanging = threading.Thread(target=lambda: run(replica, does.WAIT))
    hanging.start()
    until(lambda: list(tmp_path.glob("waits-*")))
    now_s[0] = 4.0
    asyncio.run(replica.check_health())
    now_s[0] = 6.0
    with pytest.raises(RuntimeError, match="has run for 6 s"):
        asyncio.run(replica.check_health())
    (tmp_path / "go").touch()
    hanging.join()
    asyncio.run(replica.check_health())


def test_interim_results_come_before_the_answer(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        replica = make(tmp_path, "Yielding")
        return [msgspec.msgpack.decode(found, type=ReplicaAnswer) async for found in replica.stream(*call(does.COUNT))]

    *partials, answer = asyncio.run(main())
    assert [decode_outcome(partial.outcome) for partial in partials if isinstance(partial, Partial)] == [
        *({"n": 0}, {"n": 1}, {"n": 2}, {"n": "done"}),
    ]
    assert results(answer) == [{"n": "done"}]


def test_a_call_that_nobody_needs_ends(tmp_path: Path) -> None:
    async def main() -> None:
        replica = make(tmp_path, "Yielding")
        (tmp_path / "closed").unlink()  # Of the trial call.
        running = asyncio.ensure_future(replica.run(*call(does.WAIT)))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    until(lambda: (tmp_path / "closed").exists())


def test_a_model_that_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(ModelLoadError):
        Replica("helpers.cluster_models:Nobody", tag="r1")


def test_coroutines_run_too() -> None:
    replica = Replica("helpers.async_models:Sleeper", tag="r1")
    answer = placed(asyncio.run(replica.run(*call(does.COUNT, rate=16_000))))
    assert results(answer) == [{"count": 3}]
