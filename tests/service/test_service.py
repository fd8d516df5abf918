"""Which engine a model gets, and what a server with worker processes does on a real socket."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LiveServer
from helpers import worker_models as does
from helpers.wire import Client, encode, of_type, start
from voxgate.config import Config, load_config
from voxgate.errors import ConfigError, InferenceError, ModelLoadError
from voxgate.inference.engine import factory
from voxgate.inference.engine.base import Job
from voxgate.inference.engine.processes import ProcessEngine
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.inference.scheduler import Scheduler
from voxgate.models import Model
from voxgate.models.base import Samples
from voxgate.models.default import Choice
from voxgate.service import service
from voxgate.service.service import Service

SETTINGS = {"inference.processes": 1, "inference.restart_backoff_s": 0.01, "simple.min_chunk_ms": 0}


def settings(name: str, **overrides: Any) -> Config:
    spec = name if name == "dummy" else f"helpers.worker_models:{name}"
    return load_config(environ={}, overrides={"vad.detector": "energy", "model": spec, **SETTINGS, **overrides})


def served(config: Config) -> Service:
    service = Service(config)
    assert service.engine.stop(30)
    return service


def test_threads_unless_something_speaks_against_them() -> None:
    assert isinstance(served(settings("Puppet")).engine, ThreadEngine)
    assert isinstance(served(settings("count")).engine, ThreadEngine)


@pytest.mark.parametrize("isolation", ["threads", "process"])
def test_without_a_named_model_one_is_chosen_and_the_log_says_why(
    isolation: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "choose", lambda: Choice("dummy", "a test wants it"))
    config = load_config(environ={}, overrides={"vad.detector": "energy", "inference.engine": isolation, **SETTINGS})
    assert config.model.name == "auto"
    with caplog.at_level(logging.INFO, "voxgate.service"):
        made = served(config)
    assert (made.model.name, made.config.model.name) == ("dummy", "dummy")
    assert "serving model 'dummy', because a test wants it" in caplog.messages
    caplog.clear()
    with caplog.at_level(logging.INFO, "voxgate.service"):
        served(settings("dummy"))
    assert not [line for line in caplog.messages if "because" in line]


def test_worker_processes_when_the_settings_say_so(tmp_path: Path) -> None:
    config = settings(
        "Puppet",
        **{
            "inference.engine": "process",
            "inference.processes": 3,
            "inference.max_batch_seconds": 400.0,
            "model.directory": str(tmp_path),
        },
    )
    service = served(config)
    assert isinstance(service.engine, ProcessEngine)
    assert service.engine.concurrency == 3
    assert service.engine.settings.options == {"directory": str(tmp_path)}
    assert service.engine.settings.arena_bytes(8_000) == 4 * (400 * 8_000 + 1)
    assert (service.model.name, service.model.sample_rate) == ("puppet", 8_000)


def test_the_arena_holds_the_longest_call_of_every_route() -> None:
    engine = served(settings("Puppet", **{"inference.engine": "process", "simple.max_chunk_s": 1000.0})).engine
    assert isinstance(engine, ProcessEngine)
    assert engine.settings.arena_bytes(8_000) == 4 * (1000 * 8_000 + 1)


@pytest.mark.parametrize("model", ["Holder", "make_holder"])
def test_a_model_that_holds_the_gil_gets_them_by_itself(model: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        engine = served(settings(model)).engine
    assert isinstance(engine, ProcessEngine)
    assert (
        f"model 'helpers.worker_models:{model}' holds the GIL while it computes: it runs in worker processes"
        in caplog.text
    )


def test_a_model_that_declares_it_on_its_class_is_never_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "load_model", lambda *_: pytest.fail("it was"))
    served(settings("Holder"))


def test_an_object_cannot_move_into_another_process() -> None:
    with pytest.raises(ConfigError, match="expects a model that is named in the settings"):
        Service(settings("Puppet", **{"inference.engine": "process"}), does.Puppet())


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [("Waiting", ConfigError, "it is async def"), ("Fatal", ModelLoadError, "'where' is required")],
)
def test_what_cannot_run_in_worker_processes_is_found_out_at_once(
    model: str, error: type[ConfigError], text: str
) -> None:
    with pytest.raises(error, match=text):
        Service(settings(model, **{"inference.engine": "process"}))


def test_a_dummy_that_crashes_is_refused_on_threads_and_runs_in_worker_processes() -> None:
    options = {"model.crash_rate": 0.5, "model.hang_rate": 0.1}
    with pytest.raises(ConfigError, match=r"expected worker processes \(inference.engine = 'process'\)"):
        Service(settings("dummy", **options))
    served(settings("dummy", **{"inference.engine": "process", **options}))


def test_batches_through_shared_memory_and_a_crash_among_them() -> None:
    def audio(what: int, n_samples: int) -> np.ndarray:
        made = np.zeros(n_samples, np.float32)
        made[0] = what
        return made

    async def main() -> None:
        service = Service(settings("Together", **{"inference.engine": "process", "inference.warm_up": False}))
        scheduler = Scheduler(service.engine, asyncio.get_running_loop())
        done: asyncio.Queue[Job] = asyncio.Queue()
        jobs = [
            Job(audio(what, n_samples), rate, True, stream, done.put_nowait)
            for stream, (what, n_samples, rate) in enumerate(
                [(does.COUNT, 10, 8_000), (does.CRASH, 5, 8_000), (does.COUNT, 30, 16_000), (does.COUNT, 20, 8_000)]
            )
        ]
        for job in jobs:
            scheduler.submit(job)  # Before there is a worker, so that it finds them all.
        scheduler.start()
        for _ in jobs:
            await asyncio.wait_for(done.get(), 60)
        assert [job.result and job.result["count"] for job in jobs] == [10, None, 15, 20]
        assert isinstance(jobs[1].error, InferenceError)
        assert all(job.attempts == 2 for job in jobs)
        scheduler.close()
        assert await scheduler.wait_closed(30)
        assert service.engine.counts().crashes == 2

    asyncio.run(main())


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A puppet in one worker process, behind a real socket; the parameter is the deadline in seconds."""
    live = LiveServer(
        "helpers.worker_models:Puppet",
        {
            "model.directory": str(tmp_path),
            "inference.engine": "process",
            "inference.deadline_s": getattr(request, "param", 60.0),
            **SETTINGS,
        },
    )
    live.start()
    live.wait_started()
    yield live
    live.stop()
    assert isinstance(live.service.engine, ProcessEngine)
    assert live.service.engine.pids == []


def ask(client: Client, what: int) -> dict[str, Any]:
    """One call of the simple route: 10 ms, of which the first sample says what to do."""
    audio = np.zeros((1, 80), np.float32)
    audio[0, 0] = what
    client.send(encode(audio, "f32"), {"request": "flush"})
    event = client.receive()
    assert event is not None
    return event


def test_a_stream_goes_on_through_everything_the_model_can_do(server: LiveServer) -> None:
    puppet = {"sample_rate": 8_000, "encoding": "f32"}
    # Samples beyond 1.0 are clipped on the way in, so here the commands are those within.
    assert does.CRASH == 1
    with Client(server.url("simple")) as client, Client(server.url("simple")) as other:
        client.send(start(**puppet))
        other.send(start(**puppet))
        assert ask(client, does.COUNT)["count"] == 80
        crashed = ask(client, does.CRASH)
        assert (crashed["type"], crashed["code"]) == ("error", "inference_failed")
        assert ask(other, does.COUNT)["count"] == 80
        assert ask(client, does.COUNT)["count"] == 80
        client.send({"request": "stop", "disconnect": True})
        assert of_type(client.rest(), "error") == []
    counts = server.service.engine.counts()
    assert (counts.crashes, counts.restarts, counts.results) == (2, 2, 3)


@pytest.mark.parametrize("server", [1.0], indirect=True)
def test_ready_tells_whether_any_worker_is_of_use(server: LiveServer, tmp_path: Path) -> None:
    service, engine = server.service, server.service.engine
    assert isinstance(engine, ProcessEngine)
    assert service.not_ready is None
    with Client(server.url("simple")) as client:  # before the worker dies: later the server may know, and refuse it
        client.send(start(sample_rate=8_000, encoding="f32"))
        (tmp_path / "broken").touch()
        os.kill(engine.pids[0], 9)
        audio = encode(np.zeros((1, 80), np.float32), "f32")
        client.send(audio, {"request": "flush"})  # Finds the worker dead; waits for another, until its deadline.
        with engine.pool.changed:
            assert engine.pool.changed.wait_for(lambda: not engine.ready, 30)
        assert service.not_ready == "no worker makes progress"
        event = client.receive()
        assert event is not None
        assert event["message"] == "The model gave no answer within 1 s"
        (tmp_path / "broken").unlink()
        with engine.pool.changed:
            assert engine.pool.changed.wait_for(lambda: engine.ready, 30)
        assert service.not_ready is None
        assert ask(client, does.COUNT)["count"] == 80


def test_the_parts_that_need_a_loop_exist_from_the_start_on(monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[str | None] = []

    async def main() -> None:
        service = Service(settings("count", **{"metrics.max_age_s": 0}))
        phases.append(service.not_ready)
        assert service.started is None
        with pytest.raises(RuntimeError, match="the service has not started"):
            _ = service.scheduler
        with pytest.raises(RuntimeError, match="the service has not started"):
            _ = service.vad_batcher
        scrape = await service.metrics.expose()
        assert b'voxgate_ready{worker="0"} 0.0' in scrape.body
        assert b"voxgate_queue_jobs{" not in scrape.body

        warm_up = Scheduler.warm_up

        async def watched(scheduler: Scheduler) -> None:
            phases.append(service.not_ready)
            await warm_up(scheduler)

        monkeypatch.setattr(Scheduler, "warm_up", watched)
        await service.start()
        phases.append(service.not_ready)
        assert b"voxgate_queue_jobs{" in (await service.metrics.expose()).body
        assert service.drain(0.0) == 0
        phases.append(service.not_ready)
        await service.stop(30)
        phases.append(service.not_ready)

    asyncio.run(main())
    assert phases == ["starting", "warming up the model", None, "draining", "stopping"]


@pytest.mark.parametrize(("detector", "n_warnings"), [("text", 1), ("", 0)])
def test_a_turn_detector_that_decides_nothing_is_logged(
    detector: str, n_warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        service = Service(settings("count", **{"turn.detector": detector}))
        await service.start()
        assert service.gives_text is False  # The trial call has shown it.
        await service.stop(30)

    asyncio.run(main())
    message = "turn detector 'text' decides nothing by default: it needs text, and the results of the model have none"
    assert [line for line in caplog.messages if "turn detector" in line] == [message] * n_warnings


def test_a_service_that_drains_while_it_warms_up_is_never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        service = Service(settings("count"))

        async def drained(scheduler: Scheduler) -> None:
            service.drain(0.0)

        monkeypatch.setattr(Scheduler, "warm_up", drained)
        await service.start()
        assert service.not_ready == "draining"
        await service.stop(30)
        service.drain(0.0)
        assert service.not_ready == "stopping"

    asyncio.run(main())


def test_a_service_that_was_never_started_leaves_no_worker_behind() -> None:
    service = Service(settings("Puppet", **{"inference.engine": "process"}))
    assert isinstance(service.engine, ProcessEngine)
    assert len(service.engine.pids) == 1
    asyncio.run(service.stop(30))
    assert service.engine.pids == []


def test_a_model_that_holds_the_gil_on_a_thread_is_complained_about(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        service = Service(settings("Spin"), does.Spin(0.3))
        await service.start()
        assert service.started is not None
        assert service.scheduler.depths()["running"] == 0
        await service.stop(30)

    asyncio.run(main())
    assert "holds the GIL" in caplog.text


def test_a_warm_up_that_does_not_return_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    held, seen = threading.Event(), []

    class Stuck(Model):
        def infer(self, audio: Samples) -> dict[str, float]:
            assert held.wait(30)
            return {}

    class Recorded(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "still warming up" in record.getMessage():
                seen.append(record.getMessage())
                if len(seen) == 2:
                    held.set()

    monkeypatch.setattr(service, "SLOW_WARM_UP_S", 0.01)
    handler = Recorded()
    logging.getLogger("voxgate.service.service").addHandler(handler)

    async def start() -> None:
        made = Service(load_config(environ={}, overrides={"vad.detector": "energy"}), Stuck())
        await made.start()
        await made.stop(30)

    try:
        asyncio.run(start())
    finally:
        logging.getLogger("voxgate.service.service").removeHandler(handler)
    assert seen == [
        f"model 'Stuck' is still warming up after {elapsed} s: its warm_up() or a trial call with a second of noise has"
        " not returned; the server accepts no streams before"
        for elapsed in ("0.01", "0.02")
    ]
