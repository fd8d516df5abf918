"""Which engine runs a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from helpers import worker_models as does
from voxgate.errors import ConfigError
from voxgate.inference.engine.asynchronous import AsyncEngine
from voxgate.inference.engine.base import Engine
from voxgate.inference.engine.factory import EngineSettings, make_engine
from voxgate.inference.engine.processes import ProcessEngine
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.models.base import Model

WAIT_S = 60
made: list[Engine] = []


@pytest.fixture(autouse=True)
def _stop_engines() -> Iterator[None]:
    yield
    while made:
        assert made.pop().stop(WAIT_S)


def engine_of(name: str, model: Model | None = None, **settings: Any) -> Engine:
    values: dict[str, Any] = {
        "model": f"helpers.worker_models:{name}",
        "options": {},
        "engine": "auto",
        "concurrency": 7,
        "threads": 3,
        "processes": 2,
        "max_batch_size": 5,
        "max_batch_seconds": 7.0,
        "batch_window_s": 0.25,
        "longest_job_s": 9.0,
        "deadline_s": 11.0,
        "restart_backoff_s": 0.5,
        "warm_up": False,
    }
    engine = make_engine(EngineSettings(**{**values, **settings}), model)
    made.append(engine)
    return engine


def test_threads_get_their_settings() -> None:
    engine = engine_of("Together")
    assert isinstance(engine, ThreadEngine)
    assert (engine.model.name, engine.concurrency) == ("together", 3)
    limits = engine._limits
    assert (limits.max_items, limits.max_seconds, limits.window_s) == (5, 7.0, 0.25)


def test_worker_processes_get_their_settings() -> None:
    engine = engine_of("Puppet", engine="process", options={"list": [1]})
    assert isinstance(engine, ProcessEngine)
    settings = engine.settings
    assert (settings.spec, settings.options) == ("helpers.worker_models:Puppet", {"list": [1]})
    assert (settings.processes, settings.max_batch_size, settings.max_batch_seconds) == (2, 5, 7.0)
    assert (settings.batch_window_s, settings.longest_job_s, settings.deadline_s) == (0.25, 9.0, 11.0)
    assert (settings.restart_backoff_s, settings.warm_up) == (0.5, False)
    assert engine.model.name == "puppet"


@pytest.mark.parametrize("name", ["Holder", "make_holder"])
def test_a_model_that_holds_the_gil_runs_in_worker_processes(name: str) -> None:
    assert isinstance(engine_of(name), ProcessEngine)


def test_an_object_runs_on_threads_and_cannot_move_into_a_process() -> None:
    model = does.Puppet()
    assert engine_of("Together", model).model is model
    with pytest.raises(ConfigError, match="expects a model that is named in the settings"):
        engine_of("Together", model, engine="process")


# --- coroutines ---


@pytest.mark.parametrize("engine", ["auto", "async"])
def test_coroutines_run_on_an_event_loop(engine: str) -> None:
    made = engine_of("Waiting", engine=engine)
    assert isinstance(made, AsyncEngine)
    assert (made.kind, made.concurrency) == ("async", 7)
    limits = made._limits
    assert (limits.max_items, limits.max_seconds, limits.window_s) == (5, 7.0, 0.25)


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("Waiting", "threads", r"model 'Waiting' is async def, .* expected inference.engine = 'async' or 'auto'"),
        ("Waiting", "process", r"model '.*:Waiting': it is async def, .* expected inference.engine = 'async' or 'auto'"),
        ("Puppet", "async", r"model 'puppet' defines plain functions, .* expected async def"),
    ],
)
def test_an_engine_that_does_not_fit_the_model_is_refused(name: str, engine: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        engine_of(name, engine=engine)


@pytest.mark.parametrize("engine", ["auto", "threads"])
def test_a_stateful_model_that_holds_the_gil_runs_in_worker_processes(engine: str) -> None:
    made = engine_of("Adder", engine=engine)
    assert isinstance(made, ProcessEngine)
    assert made.model.stateful
