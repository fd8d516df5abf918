"""The engine of worker processes: results, the start and the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import worker_models as does
from helpers.job_source import WAIT_S, Source, job
from helpers.processes import gone, until
from voxgate.config.option_text import OptionText
from voxgate.errors import InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.base import BatchLimits
from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings

Started = Callable[..., tuple[ProcessEngine, Source]]


def test_audio_arrives_and_results_come_back(start: Started) -> None:
    engine, source = start()
    assert (engine.model.name, engine.model.sample_rate, engine.model.batches) == ("puppet", 8_000, False)
    assert (engine.concurrency, engine.ready) == (1, True)
    audio = np.random.default_rng(1).uniform(0, 0.4, 80_000).astype(np.float32)
    asked = job()
    asked.audio = audio
    assert source.run(asked) == [{"count": 80_000, "sum": pytest.approx(float(audio.sum()))}]
    assert source.one(does.COUNT, n_samples=0) == {"count": 0, "sum": 0.0}
    counts = engine.counts()
    assert (counts.batches, counts.jobs, counts.results, counts.crashes, counts.restarts) == (2, 2, 2, 0, 0)
    assert {limits.max_items for limits in source.limits} == {1}


def test_batches_keep_their_rows(start: Started) -> None:
    engine, source = start("Together", max_batch_size=5, max_batch_seconds=9.0, batch_window_s=0.25)
    outcomes = source.run(job(n_samples=3), job(n_samples=0), job(n_samples=7))
    assert outcomes == [{"count": n, "sum": 0.0, "of": 3} for n in (3, 0, 7)]
    assert set(source.limits) == {BatchLimits(5, 9.0, 0.25)}
    assert engine.counts().batches == 1


def test_a_batch_that_failed_after_changing_its_audio_is_tried_item_by_item_with_the_audio_as_it_was(
    start: Started,
) -> None:
    engine, source = start("Together")
    changed, counted = job(does.CHANGE), job(n_samples=6)
    counted.audio[1:] = 0.25
    assert source.run(counted, changed) == [{"count": 6, "sum": 1.25}, {"count": 4, "sum": -4.0}]
    assert engine.counts().retried_batches == 1


def test_results_keep_what_they_hold(start: Started) -> None:
    _, source = start()
    result = source.one(does.NUMPY)
    assert result == {
        "scalar": 0.5, "array": [0, 1, 2], "nested": [{"x": [1, None, True]}], "nan": None, "bytes": "YWI=",
    }  # fmt: skip
    assert len(source.one(does.LONG)["text"]) == 3_000_000


def test_options_reach_the_model_whatever_toml_can_say(start: Started) -> None:
    options = {"when": does.TODAY, "list": [1, {"x": 2.5}]}
    _, source = start(options=options)
    assert source.one(does.PID)["options"] == str(options)


def test_text_of_the_environment_is_still_such_in_the_worker(start: Started) -> None:
    _, source = start(options={"n": OptionText("3"), "text": OptionText("x")})
    assert source.one(does.PID)["options"] == str({"n": 3, "text": "x"})


def test_the_model_is_never_in_our_process(start: Started) -> None:
    engine, source = start(processes=2)
    answer = source.one(does.PID)
    assert answer["pid"] in engine.pids
    assert answer["parent"] == os.getpid()
    with pytest.raises(AssertionError):
        engine.model.infer(np.zeros(1, np.float32))


def test_what_the_model_refuses_reaches_the_client_and_what_it_breaks_does_not(
    start: Started, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start("Together")
    refused, broken, fine = source.run(job(does.REFUSE), job(does.FAIL), job())
    assert isinstance(refused, InferenceError)
    assert str(refused) == "not in this language: ü"
    assert isinstance(broken, InternalError)
    assert str(broken) == "Internal server error"
    assert fine == {"count": 4, "sum": 0.0}
    assert isinstance(source.one(does.EXIT), InternalError)
    logged = [record for record in caplog.records if record.name == "voxgate.inference.engine" and record.exc_text]
    assert "a secret of the model" in str(logged[0].exc_text)
    assert 'worker_models.py", line' in str(logged[0].exc_text)
    assert logged[0].process in engine.pids
    counts = engine.counts()
    assert (counts.results, counts.inference_errors, counts.failures, counts.crashes) == (1, 1, 2, 0)


def test_a_refusal_whose_text_fails_kills_no_worker(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    engine, source = start("Together")
    fine, refused = source.run(job(), job(does.SPEECHLESS))
    assert fine == {"count": 4, "sum": 0.0}
    assert (type(refused), str(refused)) == (InferenceError, "Unexpected inference failure")
    assert "no words" in caplog.text
    assert (engine.counts().crashes, engine.counts().inference_errors) == (0, 1)


def test_a_result_that_cannot_be_sent_fails_alone(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    _, source = start("Together")
    outcomes = source.run(job(), job(does.UNSPEAKABLE))
    assert outcomes[0] == {"count": 4, "sum": 0.0, "of": 2}
    assert isinstance(outcomes[1], InternalError)
    assert "lock has no JSON form" in caplog.text


def test_what_the_model_logs_is_in_our_log(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _, source = start()
        source.one(does.LOG)
    assert ("my.model", logging.WARNING, "lo and behold 7") in caplog.record_tuples
    assert "not this" not in caplog.text


def test_every_worker_is_warm_before_the_engine_is(start: Started, tmp_path: Path) -> None:
    engine, source = start(options={"directory": str(tmp_path)}, processes=3)
    assert {path.name for path in tmp_path.glob("warm-*")} == {f"warm-{pid}" for pid in engine.pids}
    assert len(engine.pids) == 3
    pids = engine.pids
    source.close()
    assert engine.stop(WAIT_S)
    assert {path.name for path in tmp_path.glob("closed-*")} == {f"closed-{pid}" for pid in pids}


def test_without_warm_up_it_runs_as_well(tmp_path: Path) -> None:
    engine = ProcessEngine(
        ProcessSettings("helpers.worker_models:Puppet", {"directory": str(tmp_path)}, processes=1, warm_up=False)
    )
    source = Source()
    engine.load()
    engine.start(source)
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    assert list(tmp_path.glob("warm-*")) == []
    source.close()
    assert engine.stop(WAIT_S)


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ("nosuchmodel", {}, "unknown model 'nosuchmodel'"),
        ("helpers.worker_models:Nothing", {}, "no attribute 'Nothing'"),
        ("helpers.worker_models:Fatal", {}, "'where' is required"),
        ("helpers.worker_models:Fatal", {"where": "load"}, "was ended by SIGSEGV while it loaded the model"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_in_its_own_words(spec: str, options: Any, text: str) -> None:
    engine = ProcessEngine(ProcessSettings(spec, options))
    with pytest.raises(ModelLoadError, match=text):
        engine.load()
    assert not engine.ready
    assert engine.pids == []


def test_a_model_that_does_not_come_up_in_time() -> None:
    engine = ProcessEngine(ProcessSettings("helpers.worker_models:Fatal", {"where": "load-hang"}, start_timeout_s=0.3))
    with pytest.raises(ModelLoadError, match="was killed because it loaded the model for too long"):
        engine.load()


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("error", "warm-up of model 'Fatal' failed: OSError: no weights"),
        ("warm_up", "exited with status 9 while it warmed the model up"),
    ],
)
def test_a_model_that_cannot_be_warmed_up_is_refused(start: Started, where: str, text: str) -> None:
    with pytest.raises(ModelLoadError, match=text):
        start("Fatal", {"where": where}, processes=2)


def test_an_engine_whose_workers_do_not_come_up_again_says_so_and_goes_on_trying(
    start: Started, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start(options={"directory": str(tmp_path)})
    broken = tmp_path / "broken"
    broken.touch()
    source.run(job(does.CRASH, final=False))
    until(lambda: engine.counts().restarts >= 3 and not engine.ready, engine)
    assert engine.stalled_s > 0
    assert "warm-up of model 'puppet' failed: OSError: the weights are gone" in caplog.text
    asked = job()
    source.put(asked)
    broken.unlink()
    assert source.wait(asked) == [{"count": 4, "sum": 0.0}]
    until(lambda: engine.ready, engine)
    assert engine.counts().restarts >= 3


def test_stalled_is_zero_while_any_worker_waits(start: Started) -> None:
    engine, source = start(processes=2)
    hung = job(does.HANG)
    source.put(hung)
    source.wait_taken(1)
    assert engine.stalled_s == 0
    source.put(job(does.HANG))
    source.wait_taken(2)
    until(lambda: engine.stalled_s > 0, engine)
    source.close()
    assert not engine.stop(0.0)
    assert source.wait(hung)


def test_stop_waits_for_running_calls_and_then_kills(start: Started) -> None:
    engine, source = start()
    pid = engine.pids[0]
    hung = job(does.HANG)
    source.put(hung)
    source.wait_taken(1)
    source.close()
    assert not engine.stop(0.0)
    assert gone(pid)
    assert isinstance(source.wait(hung)[0], (InferenceError, dict))
    assert engine.counts().restarts == 0


def test_stop_before_start() -> None:
    engine = ProcessEngine(ProcessSettings("helpers.worker_models:Puppet"))
    engine.load()
    assert len(engine.pids) == 1
    assert engine.stop(WAIT_S)
    assert engine.pids == []
