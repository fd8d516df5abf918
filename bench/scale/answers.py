"""The end of a final: exactly one of answered, late, refused and error. It may end its stream, too."""

from __future__ import annotations

from . import edge as edges
from .cell import CLOSING, GONE
from .compiled import jit
from .lanes import free_job

ANSWERED, REFUSED, ERROR = range(3)


@jit
def settle(w, j, outcome):
    """The final `j`, in no lane any more, is over."""
    now, counts, rules, job = w.now[0], w.counts[0], w.rules[0], w.jobs[j]
    s = job.stream
    stream = w.streams[s]
    if outcome == ANSWERED and now.at_s - job.submitted_s > rules.deadline_s:
        outcome = ERROR
    if outcome == ANSWERED:
        latency_s = now.at_s + edges.added_s(w, job.edge) - job.ended_s
        if latency_s <= rules.late_s:
            counts.answered += 1
        else:
            counts.late += 1
        if now.begin_s <= job.ended_s < now.end_s:
            if now.n_logged >= len(w.answers):
                raise MemoryError("more answers than the log has room for")
            answer = w.answers[now.n_logged]
            answer.ended_s, answer.latency_s = job.ended_s, latency_s
            answer.wait_s = max(0.0, job.taken_s - max(job.submitted_s, job.ended_s))
            now.n_logged += 1
    elif outcome == REFUSED:
        counts.refused += 1
    else:
        counts.errors += 1
    free_job(w, j)
    stream.n_pending -= 1
    if stream.state == CLOSING and stream.n_pending == 0:
        edges.leave(w, s, GONE)
