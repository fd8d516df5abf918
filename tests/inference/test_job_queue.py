"""Which jobs a worker gets, and how many may wait."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.scheduler_bench import Bench
from voxgate.errors import ConfigError, InternalError, Overloaded
from voxgate.inference import job_queue as job_queue_module
from voxgate.inference.engine.base import BatchLimits, Job, State

# --- which job is next ---


def test_finals_before_interims_and_first_come_first_served() -> None:
    bench = Bench()
    jobs = [bench.job(final) for final in (False, True, False, True, True)]
    for job in jobs:
        bench.scheduler.submit(job)
    assert bench.scheduler.depths() == {"final": 3, "speculative": 0, "interim": 2, "running": 0}
    taken = [bench.take(1)[0] for _ in jobs]
    assert taken == [jobs[1], jobs[3], jobs[4], jobs[0], jobs[2]]
    assert bench.scheduler.depths() == {"final": 0, "speculative": 0, "interim": 0, "running": 5}


@pytest.mark.parametrize(("waiting", "wanted", "taken"), [(5, 3, 3), (3, 3, 3), (2, 3, 2), (1, 16, 1)])
def test_a_worker_takes_what_is_there_up_to_its_limit(waiting: int, wanted: int, taken: int) -> None:
    bench = Bench()
    jobs = bench.submit(waiting)
    batch = bench.take(wanted)
    assert batch == jobs[:taken]
    assert [job.batch_size for job in batch] == [taken] * taken


def test_a_batch_is_filled_up_with_interims() -> None:
    bench = Bench()
    (interim,) = bench.submit(final=False)
    (final,) = bench.submit()
    assert bench.take(8) == [final, interim]


def test_streams_take_turns_by_seconds_of_audio() -> None:
    bench = Bench()
    for stream, n_samples in (("long", 32_000), ("short", 8000)):
        bench.submit(20, stream=stream, n_samples=n_samples)
    streams = [bench.take(1)[0].stream for _ in range(20)]
    assert streams.count("short") == 16


def test_equal_streams_share_a_busy_engine_equally() -> None:
    """Each asks again when it has an answer; one of them has ten times as many calls waiting."""
    bench = Bench()
    served = [0] * 20

    def ask_again(job: Job) -> None:
        stream = job.stream
        assert isinstance(stream, int)
        served[stream] += 1
        bench.submit(stream=stream, on_done=ask_again, n_samples=1600)

    for stream in range(20):
        bench.submit(100 if stream == 0 else 10, stream=stream, on_done=ask_again, n_samples=1600)
    for _ in range(500):
        bench.work(4)
        bench.turn()
    assert sum(served) == 2000
    assert sum(served) ** 2 / (20 * sum(n * n for n in served)) >= 0.98


def test_a_batch_is_padded_and_bounded_in_seconds() -> None:
    bench = Bench()
    for n_samples in (16_000, 8000, 4000):
        bench.submit(n_samples=n_samples, stream=n_samples)
    work = bench.scheduler.take(BatchLimits(16, max_seconds=2.5))
    assert work is not None
    assert len(work) == 2
    assert work.batch.audio.shape == (2, 16_000)
    assert work.batch.lengths.tolist() == [16_000, 8000]
    for job, audio in zip(work.jobs, work.batch, strict=True):
        np.testing.assert_array_equal(audio, job.audio)
    assert not work.batch.audio[1, 8000:].any()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_audio_at_another_rate_is_brought_to_the_models(n_jobs: int) -> None:
    bench = Bench()
    bench.submit(n_jobs - 1, n_samples=4000)
    bench.submit(n_samples=801, rate=8000, stream="narrow")
    work = bench.scheduler.take(BatchLimits(4))
    assert work is not None
    rows = {job.sample_rate: row for job, row in zip(work.jobs, work.batch, strict=True)}
    assert len(rows[8000]) == 1602
    np.testing.assert_allclose(rows[8000][500:1000], np.arange(250, 500, 0.5), atol=0.5)
    assert bench.scheduler.queued_s == 0


def test_what_waits_is_counted_at_the_models_rate() -> None:
    bench = Bench()
    bench.submit(n_samples=8000)
    bench.submit(n_samples=8000, rate=8000)
    assert bench.scheduler.queued_s == 1.5


def test_audio_that_cannot_be_resampled_is_an_error_for_its_batch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    bench = Bench()
    bad = bench.submit(n_samples=80, rate=8000)
    bench.scheduler.submit(good := bench.job())
    monkeypatch.setattr(job_queue_module, "resample", broken)
    assert bench.take(1) == [good]
    assert bench.turn() == bad
    assert type(bad[0].error) is InternalError
    assert "a bug of ours" in caplog.text
    assert bench.scheduler.depths()["running"] == 1


def test_a_batch_is_written_into_an_arena_as_far_as_it_fits() -> None:
    bench, arena = Bench(), bytearray(4 * 1000)
    too_long = bench.submit(n_samples=1001, stream="a")
    bench.submit(3, n_samples=400, stream="b")
    work = bench.scheduler.take(BatchLimits(16), arena)
    assert work is not None
    assert len(work) == 2
    assert np.frombuffer(arena, np.float32, 800).tolist() == 2 * list(range(400))
    assert bench.turn() == too_long
    assert str(too_long[0].error) == "0.1 s of audio is too long for a worker"
    assert bench.scheduler.depths() == {"final": 1, "speculative": 0, "interim": 0, "running": 2}


def test_stateful_calls_come_alone() -> None:
    bench = Bench()
    for stream in range(3):
        bench.submit(stream=stream, method="step", state=State())
    assert [len(bench.take(16)) for _ in range(3)] == [1, 1, 1]


# --- bounds ---


def test_what_goes_past_the_bound_is_refused_and_room_is_made_by_take_and_cancel() -> None:
    bench = Bench(max_jobs=2)
    first, second = bench.submit(2)
    with pytest.raises(Overloaded, match="or 2 calls or 3600 s of audio of all wait for the model"):
        bench.submit()
    bench.scheduler.cancel(second)
    bench.submit(1, final=False)
    with pytest.raises(Overloaded):
        bench.submit(1)
    assert bench.take(1) == [first]
    bench.submit()
    counts = bench.scheduler.counts()
    assert (counts.submitted, counts.refused) == (4, 2)


def test_a_refused_job_is_never_answered() -> None:
    bench = Bench(max_jobs=1)
    bench.submit()
    refused = bench.job()
    with pytest.raises(Overloaded):
        bench.scheduler.submit(refused)
    bench.work(5)
    bench.loop.turn()
    assert refused not in bench.answered
    assert not refused.pending


def test_a_stream_has_bounds_of_its_own_and_seconds_count_too() -> None:
    bench = Bench(stream_jobs=3, stream_seconds=2.0, max_seconds=3.0)
    bench.submit(3, stream="many")
    with pytest.raises(Overloaded, match="3 calls or 2 s of audio of this stream or 4096 calls or 3 s of audio of all"):
        bench.submit(stream="many")
    bench.submit(2, n_samples=16_000, stream="long")
    with pytest.raises(Overloaded):
        bench.submit(stream="long")
    with pytest.raises(Overloaded):
        bench.submit(n_samples=16_000, stream="third")
    bench.submit(n_samples=15_000, stream="third")


@pytest.mark.parametrize("name", ["max_seconds", "stream_seconds", "deadline_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"inference.{name} must be above 0, not {value}"):
        Bench(**{name: value})


@pytest.mark.parametrize("max_jobs", [0, -1])
def test_a_bound_below_one_is_refused(max_jobs: int) -> None:
    with pytest.raises(ConfigError, match=f"inference.max_jobs must be at least 1, not {max_jobs}"):
        Bench(max_jobs=max_jobs)
