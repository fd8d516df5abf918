"""A call is back: what becomes of its jobs."""

from __future__ import annotations

from . import calls, pool
from .answers import ANSWERED, ERROR, settle
from .cell import DONE, FINAL, GUESS, INTERIM
from .compiled import jit
from .lanes import free_job, new_job, queue

MOST_ATTEMPTS = 2


@jit
def let_go(w, j):
    """The job runs no more."""
    s = w.streams[w.jobs[j].stream]
    s.n_running = max(0, s.n_running - 1)
    s.free_s = w.now[0].at_s


@jit
def returned(w, c):
    """A replica has answered all jobs of the call."""
    e, j = w.calls[c].edge, w.calls[c].first
    pool.release(w, c)
    pool.route_waiting(w)
    while j >= 0:
        following = w.jobs[j].next
        w.jobs[j].next = -1
        let_go(w, j)
        job_done(w, j)
        j = following
    if e >= 0:
        pool.wake(w, e)


@jit
def job_done(w, j):
    job = w.jobs[j]
    if job.lane == FINAL:
        settle(w, j, ANSWERED)
    elif job.lane == GUESS:
        if job.dropped:
            free_job(w, j)
        else:
            job.state = DONE
    else:
        interim_done(w, j, True)


@jit
def interim_done(w, j, is_answer):
    job, now = w.jobs[j], w.now[0]
    s = job.stream
    of = w.streams[s]
    if job.dropped:
        free_job(w, j)
        return
    if is_answer:
        w.counts[0].shown += 1
        now.shown_s += now.at_s - job.ended_s
    free_job(w, j)
    of.interim = -1
    if of.newer:
        of.newer = 0
        audio_s = now.at_s - of.open_s + w.rules[0].prefix_s
        of.interim = new_job(w, s, INTERIM, audio_s, now.at_s)
        calls.submit(w, s, of.interim)


@jit
def lost(w, c):
    """The replica of the call has died: finals run once more, before all others; interims and speculative calls end."""
    e, j = w.calls[c].edge, w.calls[c].first
    pool.release(w, c)
    while j >= 0:
        job = w.jobs[j]
        following = job.next
        job.next = -1
        let_go(w, j)
        if job.lane == FINAL and job.attempts < MOST_ATTEMPTS:
            w.counts[0].reruns += 1
            queue(w, j, e, True)
        elif job.lane == FINAL:
            settle(w, j, ERROR)
        elif job.lane == GUESS:
            if not job.dropped:
                w.streams[job.stream].guess = -1
            free_job(w, j)
        else:
            interim_done(w, j, False)
        j = following
