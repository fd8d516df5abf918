"""The generator without a server: what it does while it waits."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from voxgate import load
from voxgate.load.generator import LOOK_EVERY_S, Generator


def test_streams_that_change_do_not_make_it_look_at_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand streams, hundreds of them begin and end in a second."""
    material = load.make_material(np.zeros((1, 1600), np.float32), 16_000, 16_000, 1, "s16", 20)
    target = load.Target("ws://localhost", ("localhost", 1), b"", None)
    ticks = itertools.count()
    generator = Generator(load.Plan(target, material, 1, [], 1), lambda: next(ticks) * LOOK_EVERY_S / 10)
    looks: list[float] = []
    monkeypatch.setattr(generator, "abort_stuck", looks.append)

    async def run() -> None:
        n_changes = 0

        def changed_often() -> bool:
            nonlocal n_changes
            n_changes += 1
            asyncio.get_running_loop().call_soon(generator.changed.set)
            return n_changes > 100

        await generator.until(changed_often, 7.0)

    asyncio.run(run())
    assert looks == [7.0] * 10
