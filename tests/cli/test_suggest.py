"""The settings that are suggested for given figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from voxgate.cli.behaviour import Answer, BatchGain, Behaviour, Gil, Speed
from voxgate.cli.suggest import suggest
from voxgate.models import Model


def behaviour(
    share: float = 1.0, two: float | None = 1.9, best: float | None = 1.9, batches: Sequence[BatchGain] = ()
) -> Behaviour:
    speed = Speed(calls=4, call_s=0.1, audio_s=2.0, real_time_factor=0.05)
    return Behaviour(0.1, 0.1, [Answer("a", {})], speed, Gil(share, 0.01), batches, two, best)


def settings(model: Model, found: Behaviour, n_cpus: int = 2) -> dict[str, Any]:
    return {one.key: one.value for one in suggest(model, found, n_cpus)}


@pytest.mark.parametrize(
    ("share", "verdict", "isolation"),
    [
        (0.0, "holds", "process"),
        (0.34, "holds", "process"),
        (0.35, "shares", "threads"),
        (0.69, "shares", "threads"),
        (0.7, "releases", "threads"),
        (1.0, "releases", "threads"),
    ],
)
def test_the_gil_decides_where_it_runs(share: float, verdict: str, isolation: str) -> None:
    found = behaviour(share)
    assert found.gil.verdict == verdict
    assert settings(Model(), found)["inference.engine"] == isolation
    assert ("inference.processes" in settings(Model(), found)) == (isolation == "process")
    assert ("inference.threads" in settings(Model(), found)) == (isolation == "threads")


def test_a_model_that_declares_to_hold_the_gil_gets_processes() -> None:
    model = Model()
    model.holds_gil = True
    assert settings(model, behaviour(1.0))["inference.engine"] == "process"
    assert "so this is the default" in suggest(model, behaviour(1.0))[0].reason


@pytest.mark.parametrize(
    ("two", "best", "n_cpus", "threads", "reason"),
    [
        (1.9, 1.9, 2, 0, "one per CPU, here 2: two concurrent calls are 1.90x as fast"),
        (1.9, 1.0, 1, 0, "two concurrent calls are 1.90x as fast"),  # it waits, rather than computes
        (1.0, 1.9, 2, 1, "two concurrent calls are no faster than two calls in turn (1.00x)"),
        (1.0, 1.1, 2, 0, "too busy to measure"),
        (1.0, 1.0, 1, 1, "there is one CPU"),
        (None, None, 2, 0, "the model allows one call at a time"),
    ],
)
def test_threads(two: float | None, best: float | None, n_cpus: int, threads: int, reason: str) -> None:
    found = behaviour(two=two, best=best)
    setting = suggest(Model(), found, n_cpus)[1]
    assert (setting.key, setting.value) == ("inference.threads", threads)
    assert reason in setting.reason


def test_the_models_own_number_of_threads() -> None:
    model = Model()
    model.threads = 64
    setting = suggest(model, behaviour(), 2)[1]
    assert (setting.value, "the model's own number, 64" in setting.reason) == (0, True)


@pytest.mark.parametrize(
    ("gains", "size"), [((1.0, 1.05), 1), ((2.0, 3.0), 16), ((2.0, 1.5), 4), ((0.5, 0.6), 1), ((1.0, 1.1), 16)]
)
def test_the_size_of_batches(gains: tuple[float, float], size: int) -> None:
    found = behaviour(batches=[BatchGain(4, gains[0]), BatchGain(8, gains[1])])
    assert settings(Model(), found)["inference.max_batch_size"] == size
    assert "inference.max_batch_size" not in settings(Model(), behaviour())


def test_every_suggestion_is_a_setting() -> None:
    from voxgate.config import load_config

    for found in (behaviour(0.0), behaviour(batches=[BatchGain(4, 1.0), BatchGain(8, 3.0)])):
        load_config(environ={}, overrides=settings(Model(), found))
