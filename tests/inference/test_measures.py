"""What the scheduler counts and measures."""

from __future__ import annotations

from helpers.scheduler_bench import Bench, results
from voxgate.errors import InferenceError, InternalError
from voxgate.inference.engine.base import JobOutcome


def test_what_becomes_of_calls_adds_up_at_every_moment() -> None:
    bench = Bench(deadline_s=10)
    scheduler = bench.scheduler

    def check(**outcomes: int) -> None:
        assert {name: n for name, n in scheduler.outcomes().items() if n} == outcomes
        assert scheduler.counts().submitted == sum(outcomes.values()) + scheduler.pending

    def answer(outcome: JobOutcome) -> None:
        scheduler.finish(bench.take(1), [outcome])
        bench.turn()

    bench.submit(3)
    check()
    answer({})
    check(ok=1)
    answer(None)
    check(ok=2)
    answer(InferenceError("no"))
    check(ok=2, refused=1)
    bench.submit()
    answer(InternalError("a bug"))
    check(ok=2, refused=1, failed=1)
    queued, running = bench.submit(2)
    bench.take(1)
    for job in (queued, running, queued):
        scheduler.cancel(job)
    check(ok=2, refused=1, failed=1, cancelled=2)
    (running,) = bench.submit(1, stream=running)
    bench.take(1)
    scheduler.requeue([running])
    bench.take(1)
    scheduler.requeue([running])
    bench.turn()
    check(ok=2, refused=1, failed=1, cancelled=2, died=1)
    bench.submit()
    bench.wait(10)
    bench.turn()
    check(ok=2, refused=1, failed=1, cancelled=2, died=1, timeout=1)
    bench.submit()
    scheduler.close()
    bench.turn()
    check(ok=2, refused=1, failed=1, cancelled=2, died=1, timeout=1, shutdown=1)


def test_waits_sizes_and_factors_are_observed_per_batch() -> None:
    bench = Bench()
    bench.submit(3, n_samples=16_000)
    bench.submit(1, final=False, n_samples=8_000, rate=8_000)
    bench.now_s += 0.25
    jobs = bench.take(16)
    bench.now_s += 2.0
    bench.scheduler.finish(jobs, results(jobs))
    times = bench.scheduler.times
    assert (times.final_wait_s.count, times.final_wait_s.total) == (3, 0.75)
    assert (times.interim_wait_s.count, times.interim_wait_s.total) == (1, 0.25)
    assert (times.batch_size.count, times.batch_size.total) == (1, 4)
    assert (times.run_s.count, times.run_s.total) == (1, 2.0)
    assert (times.factor.count, times.factor.total) == (1, 0.5)  # two seconds for four of audio
