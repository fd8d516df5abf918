"""The jobs of an edge that wait for the model, in three lanes: finals, speculative calls, interims.

In a lane, the first to come is the first to be served. The real queue serves the stream first that was served least;
both are the same as long as a stream has one job in a lane, which is so for live speech.
"""

from __future__ import annotations

from .cell import FREE, QUEUED
from .compiled import jit


@jit
def new_job(w, stream, lane, audio_s, ended_s):
    now = w.now[0]
    j = now.free_job
    if j < 0:
        raise MemoryError("more jobs than there is room for")
    job = w.jobs[j]
    now.free_job = job.next
    job.stream, job.lane, job.audio_s, job.ended_s = stream, lane, audio_s, ended_s
    job.edge = job.next = job.prev = -1
    job.attempts = job.dropped = 0
    job.taken_s = 0.0
    return j


@jit
def free_job(w, j):
    now, job = w.now[0], w.jobs[j]
    job.state, job.stream, job.next = FREE, -1, now.free_job
    now.free_job = j


@jit
def queue(w, j, e, first=False):
    """Into its lane of edge `e`: at the end, or before all others."""
    job, edge = w.jobs[j], w.edges[e]
    lane = w.lanes[3 * e + job.lane]
    job.state, job.edge = QUEUED, e
    job.next = job.prev = -1
    if lane.n == 0:
        lane.head = lane.tail = j
    elif first:
        job.next, w.jobs[lane.head].prev = lane.head, j
        lane.head = j
    else:
        job.prev, w.jobs[lane.tail].next = lane.tail, j
        lane.tail = j
    lane.n += 1
    edge.n_waiting += 1


@jit
def unqueue(w, j):
    job = w.jobs[j]
    edge, lane = w.edges[job.edge], w.lanes[3 * job.edge + job.lane]
    if job.prev < 0:
        lane.head = job.next
    else:
        w.jobs[job.prev].next = job.next
    if job.next < 0:
        lane.tail = job.prev
    else:
        w.jobs[job.next].prev = job.prev
    job.next = job.prev = -1
    lane.n -= 1
    edge.n_waiting -= 1
