"""The autoscalers: Kubernetes' for edges, by streams per edge; Ray Serve's for replicas, by calls that run."""

from __future__ import annotations

from math import ceil

from . import failures, heap
from .cell import DOWN, DRAINING, STARTING, UP
from .compiled import jit

EDGES_EVERY_S, REPLICAS_EVERY_S = 15.0, 1.0
LESS_AFTER_S, LESS_EVERY_S = 600.0, 300.0
"""Of deploy/cluster/kubernetes.yaml: fewer edges only when fewer were enough for so long, one at a time."""
LOOK_BACK_S, UP_AFTER_S, DOWN_AFTER_S = 30.0, 5.0, 120.0
"""Of Ray Serve: its average, `upscale_delay_s`, `downscale_delay_s`."""
LEAST_EDGES = 2


@jit
def scale_edges(w):
    rules, now = w.rules[0], w.now[0]
    n = 0
    for e in range(len(w.edges)):
        n += int(w.edges[e].state == UP or w.edges[e].state == STARTING)
    wanted = max(LEAST_EDGES, ceil(now.n_live / rules.edge_target))
    if wanted >= n:
        now.edges_enough_s = now.at_s
    for e in range(len(w.edges)):
        if n < wanted and w.edges[e].state == DOWN:
            w.edges[e].state = STARTING
            heap.push(w, now.at_s + rules.edge_start_s, heap.EDGES, e, 1)
            n += 1
    if wanted < n and now.at_s >= now.edges_enough_s + LESS_AFTER_S and now.at_s >= now.edge_less_s + LESS_EVERY_S:
        for e in range(len(w.edges) - 1, -1, -1):
            if w.edges[e].state == UP:
                now.edge_less_s = now.at_s
                failures.act(w, failures.EDGE_DRAIN, e)
                heap.push(w, now.at_s + rules.drain_s - failures.LAST_S, heap.EDGES, e, 2)
                heap.push(w, now.at_s + rules.drain_s, heap.EDGES, e, 3)
                return


@jit
def edge_step(w, e, step):
    """1: it has started; 2: its drain ends; 3: its process ends."""
    if step == 1 and w.edges[e].state == STARTING:
        failures.edge_up(w, e)
    elif step == 2 and w.edges[e].state == DRAINING:
        failures.end_streams(w, e)
    elif step == 3 and w.edges[e].state == DRAINING:
        failures.edge_down(w, e, 0.0)


@jit
def scale_replicas(w):
    rules, now = w.rules[0], w.now[0]
    now.ongoing += (now.n_busy + now.n_routed - now.ongoing) * REPLICAS_EVERY_S / LOOK_BACK_S
    n = 0
    for r in range(len(w.replicas)):
        n += int(w.replicas[r].state == UP or w.replicas[r].state == STARTING)
    wanted = min(len(w.replicas), max(rules.min_replicas, ceil(now.ongoing / rules.replica_target)))
    now.more_s = -1.0 if wanted <= n else now.at_s if now.more_s < 0 else now.more_s
    now.less_s = -1.0 if wanted >= n else now.at_s if now.less_s < 0 else now.less_s
    if now.more_s >= 0 and now.at_s >= now.more_s + UP_AFTER_S:
        now.more_s = -1.0
        for r in range(len(w.replicas)):
            if n < wanted and w.replicas[r].state == DOWN:
                w.replicas[r].state = STARTING
                heap.push(w, now.at_s + rules.replica_start_s, heap.REPLICAS, r, 1)
                n += 1
    elif now.less_s >= 0 and now.at_s >= now.less_s + DOWN_AFTER_S:
        now.less_s = -1.0
        for r in range(len(w.replicas) - 1, -1, -1):
            if n > wanted and w.replicas[r].state == UP:
                failures.replica_drains(w, r)
                n -= 1


@jit
def replica_step(w, r):
    if w.replicas[r].state == STARTING:
        failures.replica_up(w, r)
