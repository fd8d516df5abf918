"""`voxgate.testing`: a server within a test, which leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.wire import FLUSH, Client, start
from voxgate import Model, recordings
from voxgate.client import ConnectError
from voxgate.errors import ConfigError, ModelLoadError
from voxgate.protocol import Segment
from voxgate.testing import LocalServer, serving

SECOND = (np.zeros(16_000, np.float32), 16_000)


class Counter(Model):
    """Counts, from a number on."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.n_closed = 0

    def infer(self, audio: Any) -> dict[str, int]:
        return {"count": self.first + len(audio)}

    def close(self) -> None:
        self.n_closed += 1


def count(audio: Any, first: int = 0) -> dict[str, int]:
    return {"count": first + len(audio)}


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("model", [Counter(), Counter, count, lambda: Counter(), "dummy"])
def test_whatever_can_be_served_is_served_as_often_as_wanted(model: Any) -> None:
    settings: dict[str, Any] = {"simple.min_chunk_ms": 1000}
    if model == "dummy":
        settings |= {"model.delay": 0, "model.constant_factor": 0, "model.jitter": 0, "model.panic_rate": 0}
    before, n_frozen = names_of_threads(), gc.get_freeze_count()
    for _ in range(2):
        with serving(model, settings) as server:
            (result,) = server.collect(SECOND, route="simple")
            assert isinstance(result, Segment)
            assert (result.start_time, result.end_time) == (0.0, 1.0)
            assert result.output == {"count": 16_000}
        until(lambda: names_of_threads() <= before)  # a watchdog takes a moment to end
        with pytest.raises(ConnectError):
            server.collect(SECOND)
    assert gc.get_freeze_count() == n_frozen


def test_options_of_a_class_or_a_function_are_settings() -> None:
    for model in (Counter, count):
        with serving(model, {"model.first": 5, "simple.min_chunk_ms": 1000}) as server:
            (result,) = server.collect(SECOND, route="simple")
        assert isinstance(result, Segment)
        assert result.output == {"count": 16_005}


def test_the_environment_and_the_folder_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOXGATE_AUTH_TOKENS", "secret")
    (tmp_path / "voxgate.toml").write_text('[model]\nname = "no such model"\n')
    monkeypatch.chdir(tmp_path)
    with serving(count) as server:
        assert server.collect(SECOND, route="simple")


def test_events_and_addresses() -> None:
    model = Counter()
    with serving(model) as server:
        assert server.model is model
        assert server.url() == f"ws://127.0.0.1:{server.port}/api/v1/segmented"
        with urllib.request.urlopen(server.http("/api/v1/ready")) as response:
            assert json.load(response) == {"status": "ready"}

        async def kinds() -> list[str]:
            return [type(event).__name__ async for event in server.stream(recordings.path("demo"), route="segmented")]

        got = asyncio.run(kinds())
        assert (got.count("Active"), got.count("Segment")) == (4, 4)
        assert model.n_closed == 0
    assert model.n_closed == 1


class Broken(Model):
    def warm_up(self) -> None:
        raise OSError("no weights")

    def infer(self, audio: Any) -> dict[str, Any]:
        return {}


class Unmade(Model):
    def __init__(self) -> None:
        raise ValueError("expected a file")

    def infer(self, audio: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("model", "settings", "kind", "text"),
    [
        (Broken, {}, ModelLoadError, "warm-up of model 'Broken' failed: OSError: no weights"),
        (Unmade, {}, ModelLoadError, "model 'Unmade': expected a file"),
        ("nothing", {}, ModelLoadError, "unknown model 'nothing'"),
        (Model, {}, ModelLoadError, "expected Model to define infer"),
        (3, {}, ModelLoadError, "model 'int': expected a voxgate.Model"),
        (count, {"model.frist": 1}, ModelLoadError, "unknown option 'frist'.* did you mean 'first'?"),
        (Counter(), {"model.first": 1}, ModelLoadError, "an instance that has been made already"),
        (count, {"vad.thresold": 1}, ConfigError, "vad.threshold"),
        (count, {"server.host": "192.0.2.1"}, ConfigError, "cannot listen on 192.0.2.1"),
        (count, {"inference.isolation": "process"}, ConfigError, "expects a model that is named"),
    ],
)
def test_a_start_that_fails_raises_here_and_leaves_nothing(
    model: Any, settings: dict[str, Any], kind: type[Exception], text: str
) -> None:
    before = names_of_threads()
    with pytest.raises(kind, match=text), serving(model, settings):
        raise AssertionError("it was served")
    until(lambda: names_of_threads() <= before)  # a watchdog takes a moment to end


class Waiting(Model):
    """Waits in `infer` (after the trial call), or in `warm_up`."""

    threads = 1

    def __init__(self, in_warm_up: bool = False) -> None:
        self.in_warm_up = in_warm_up
        self.n_calls = 0
        self.is_waiting = threading.Event()
        self.go_on = threading.Event()

    def warm_up(self) -> None:
        if self.in_warm_up:
            assert self.go_on.wait(60)

    def infer(self, audio: Any) -> dict[str, Any]:
        self.n_calls += 1
        if self.n_calls > 1:
            self.is_waiting.set()
            assert self.go_on.wait(60)
        return {}


def test_a_model_that_does_not_become_warm_is_named() -> None:
    model = Waiting(in_warm_up=True)
    with pytest.raises(TimeoutError, match=r"model 'Waiting' is not warm after 0\.1 s"), serving(model, timeout_s=0.1):
        raise AssertionError("it was served")
    model.go_on.set()


def leave_a_call(url: str, model: Waiting) -> Callable[[], None]:
    """Has the model wait in a call of a client, and returns what ends the client."""
    client = Client(url)
    client.__enter__()
    client.send(start(), bytes(32_000), FLUSH)
    assert model.is_waiting.wait(30)
    return lambda: client.__exit__(None, None, None)


def test_the_end_waits_for_a_call_of_the_model() -> None:
    """Half a second longer than a server process would: its threads would go on in the middle of later tests."""
    model = Waiting()
    before = names_of_threads()
    with serving(model) as server:
        close = leave_a_call(server.url("simple"), model)
        close()
        service = server.service
        # Returns when the server has left the call behind, and not before.
        release = threading.Thread(target=lambda: (until(lambda: service.calls_left_behind), model.go_on.set()))
        release.start()
    release.join()
    until(lambda: names_of_threads() <= before)  # a watchdog takes a moment to end


def until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    while not condition():
        waiting.wait(0.01)


def test_a_call_that_does_not_return_is_an_error() -> None:
    model = Waiting()
    server = LocalServer(model, timeout_s=5)
    server.start()
    server.wait_started()
    leave_a_call(server.url("simple"), model)()
    with pytest.raises(TimeoutError, match=r"a call of model 'Waiting' did not return within 5 s"):
        server.stop()
    model.go_on.set()
    assert server.service.engine.stop(30)


def test_an_error_of_the_block_is_the_one_that_is_raised() -> None:
    before = names_of_threads()
    with pytest.raises(ZeroDivisionError), serving(count):
        1 / 0  # noqa: B018
    until(lambda: names_of_threads() <= before)  # a watchdog takes a moment to end


def test_an_error_on_the_event_loop_is_raised_at_the_end() -> None:
    def fail() -> None:
        raise ZeroDivisionError("on the loop")

    server = LocalServer(count)
    server.start()
    server.wait_started()
    server.server._loop.call_soon_threadsafe(fail)
    with pytest.raises(RuntimeError, match="an error on the event loop") as raised:
        server.stop()
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
