"""The calls that a stream asks for: finals, interims, and speculative calls for finals that are not due yet."""

from __future__ import annotations

from . import edge as edges
from . import pool
from .answers import ANSWERED, settle
from .cell import DONE, FINAL, GUESS, INTERIM, OWED, QUEUED, RUNNING
from .compiled import jit
from .lanes import free_job, new_job, queue, unqueue


@jit
def submit(w, s, j):
    job, e = w.jobs[j], w.streams[s].edge
    job.submitted_s = w.now[0].at_s
    job.attempts = 0
    queue(w, j, e)
    pool.wake(w, e)


@jit
def owe(w, j):
    """The client sends this final's audio again, in its order: at once, or when it has an edge."""
    job = w.jobs[j]
    stream = w.streams[job.stream]
    if stream.edge >= 0:
        submit(w, job.stream, j)
        return
    job.state, job.edge, job.next = OWED, -1, -1
    if stream.owed < 0:
        stream.owed = j
        return
    last = stream.owed
    while w.jobs[last].next >= 0:
        last = w.jobs[last].next
    w.jobs[last].next = j


@jit
def ask_interim(w, s):
    """At most one interim of a stream is queued or running: a newer one replaces it, or follows it."""
    now, counts, rules, stream = w.now[0], w.counts[0], w.rules[0], w.streams[s]
    if stream.edge < 0:
        return
    counts.interims += 1
    audio_s = now.at_s - stream.open_s + rules.prefix_s
    if stream.interim < 0:
        stream.interim = new_job(w, s, INTERIM, audio_s, now.at_s)
        submit(w, s, stream.interim)
        return
    counts.superseded += 1
    job = w.jobs[stream.interim]
    if job.state == QUEUED:
        job.audio_s, job.ended_s = audio_s, now.at_s
    else:
        stream.newer = 1


@jit
def drop_interim(w, s):
    stream = w.streams[s]
    j = stream.interim
    if j >= 0:
        w.counts[0].superseded += 1
        if w.jobs[j].state == QUEUED:
            unqueue(w, j)
            free_job(w, j)
        else:
            w.jobs[j].dropped = 1
    stream.interim, stream.newer = -1, 0


@jit
def speculate(w, s):
    """Calls the model for the final that comes if the silence goes on, unless finals wait too long."""
    rules, stream = w.rules[0], w.streams[s]
    if stream.edge < 0 or stream.n_pending > 0 or stream.guess >= 0:
        return
    if edges.queue_wait_s(w, stream.edge) > rules.speculate_max_wait_s:
        return
    w.counts[0].guesses += 1
    audio_s = stream.spurt_end_s - stream.open_s + rules.prefix_s
    stream.guess = new_job(w, s, GUESS, audio_s, 0.0)
    submit(w, s, stream.guess)


@jit
def drop_guess(w, s):
    stream = w.streams[s]
    j = stream.guess
    stream.guess = -1
    if j < 0:
        return
    w.counts[0].wasted += 1
    job = w.jobs[j]
    if job.state == RUNNING:
        job.dropped = 1
        return
    if job.state == QUEUED:
        unqueue(w, j)
    free_job(w, j)


@jit
def end_utterance(w, s, end_s):
    """Speech ended at `end_s`, and this is known now: a final is due."""
    now, counts, rules, stream = w.now[0], w.counts[0], w.rules[0], w.streams[s]
    drop_interim(w, s)
    counts.finals += 1
    stream.n_pending += 1
    j, stream.guess = stream.guess, -1
    if j >= 0:
        job = w.jobs[j]
        job.ended_s = now.at_s
        if job.state == QUEUED:
            unqueue(w, j)
            free_job(w, j)
        else:
            counts.used += 1
            job.lane = FINAL
            if job.state == DONE:
                settle(w, j, ANSWERED)
            return
    j = new_job(w, s, FINAL, end_s - stream.open_s + rules.prefix_s, now.at_s)
    owe(w, j)
