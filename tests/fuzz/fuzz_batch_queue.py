"""BatchQueue against the textbook's; every job that goes in comes out once, with its own audio, and none is leaked."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np

from fuzz.source import Source
from reference.batch_ref import ReferenceQueue
from voxgate._native.batch import BatchQueue


class Job:
    def __init__(self, number: int, n_samples: int) -> None:
        self.number, self.n_samples = number, n_samples


def fuzz(data: bytes) -> None:
    source = Source(data)
    bounds = (1 + source.size(12), 1 + source.size(6000), source.size(6), source.size(3000))
    queue: BatchQueue[Job] = BatchQueue(*bounds)
    oracle = ReferenceQueue(*bounds)
    streams, groups = [object() for _ in range(4)], [None, None, object(), object()]
    references = [sys.getrefcount(stream) for stream in streams]  # the queue holds none to a stream
    alive: list[weakref.ref[Job]] = []
    here: list[Job] = []
    audios: dict[int, np.ndarray] = {}
    n_out = 0
    while source.left:
        what = source.integer(0, 7)
        if what <= 3:
            n = source.size(2500)
            job, stream = Job(len(alive), n), source.pick(streams)
            lane, alone, front = source.integer(0, 2), source.integer(0, 7) == 0, source.integer(0, 15) == 0
            final, speculative = lane == 0, lane == 1
            audio = None if source.integer(0, 3) == 0 else np.full(n, job.number + 1, np.float32)
            if audio is not None and source.integer(0, 3) == 0:
                audio = np.repeat(audio, 2)[::2]
            group = source.pick(groups)
            fits = oracle.put(job, n, stream, final, alone, front, group, speculative)
            try:
                n_samples = n if audio is None else -1
                queue.put(job, audio, stream, final, n_samples, alone, front, group, speculative)
                assert fits
            except BufferError:
                assert not fits
                continue
            alive.append(weakref.ref(job))
            here.append(job)
            audios[job.number] = np.zeros(n, np.float32) if audio is None else audio
            try:
                queue.put(job, audio, stream, final, n)
            except (ValueError, BufferError):
                pass
            else:
                raise AssertionError("the same job twice")
        elif what == 4 and here:
            job = here.pop(source.integer(0, len(here) - 1))
            assert oracle.cancel(job)
            assert queue.cancel(job)
            assert not queue.cancel(job)
            n_out += 1
        elif what >= 5 and here:
            max_items, max_samples = source.integer(1, 5), source.size(6000)
            arena = np.full(source.size(4000) + 1, -1, np.float32) if source.flag() else None
            taken = queue.take(max_items, max_samples, 0.0, arena)
            assert taken is not None
            jobs, batch, lengths = taken
            assert jobs == oracle.take(max_items, max_samples, None if arena is None else len(arena))
            assert 1 <= len(jobs) <= max_items
            assert lengths.tolist() == [job.n_samples for job in jobs]
            if batch is None:
                assert arena is not None
                assert len(jobs) == 1
                assert jobs[0].n_samples > len(arena)
            else:
                assert batch.shape == (len(jobs), max(lengths))
                for row, job in zip(batch, jobs, strict=True):
                    np.testing.assert_array_equal(row[: job.n_samples], audios[job.number])
                    assert not row[job.n_samples :].any()
            for job in jobs:
                here.remove(job)
            n_out += len(jobs)
            del taken, jobs, batch
        assert len(queue) == len(here) == len(oracle.waiting)
        assert queue.depths()[2] == sum(job.n_samples for job in here)
    drained = queue.close()
    assert sorted(job.number for job in drained) == sorted(job.number for job in here)
    assert n_out + len(drained) == len(alive)
    assert queue.take(1) is None
    assert queue.close() == []
    del drained, here[:], oracle
    job = stream = None  # type: ignore[assignment]
    assert [sys.getrefcount(stream) for stream in streams] == references
    if any(reference() is not None for reference in alive):
        gc.collect()
    assert [reference().number for reference in alive if reference() is not None] == []


SEEDS = [
    bytes([10, 0, 255, 9, 0, 4, 0, 99, 9, 0] + [0, 200, 3, 2, 1, 1, 1, 1, 1, 0, 5, 3, 100, 1, 0] * 12),
    bytes(range(256)),
]
