"""The rules that the simulation repeats are those of the server and of the client."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from bench.scale import arrivals, costs, edge, failures, heap, simulation, talk
from bench.scale.cell import UP, Cell, EdgeCost, ModelCost

from voxgate.client import reconnect
from voxgate.client.errors import RefusedError
from voxgate.config import load_config
from voxgate.inference import queue_delay
from voxgate.service.admission import Admission, Refusal
from voxgate.service.client_info import ClientInfo


def world(cell: Cell, n_streams: int = 0) -> Any:
    sessions = arrivals.Sessions(*(np.zeros(n_streams, kind) for kind in (float, float, int)))
    return simulation.build(cell, sessions, talk.conversation(100), [], 0.0, 10.0, 1, 1.0)


def test_admission_is_that_of_the_server() -> None:
    dice = random.Random(1)
    w = world(Cell(1, 1, ModelCost(0.1), max_streams=100_000))
    one = w.edges[0]

    class Load:
        not_ready = draining_until_s = None
        buffered_audio_is_full = False
        queue_wait_s = 0.0

    load, now_s = Load(), 0.0
    limits = load_config(environ={}, overrides={"limits.streams": 100_000, "limits.streams_per_address": 100_000})
    admission = Admission(limits.limits, limits.auth, load, clock=lambda: now_s)
    permits, decisions = [], []
    for i in range(3000):
        now_s += dice.expovariate(5.0)
        load.queue_wait_s = max(0.0, 0.02 * (len(permits) - 60) + dice.uniform(-0.2, 0.2))
        w.now[0].at_s, one.measured_s, one.wait_s = now_s, now_s, load.queue_wait_s
        permit = admission.admit(ClientInfo())
        decisions.append(not isinstance(permit, Refusal))
        assert edge.admits(w, 0) == decisions[-1], f"client {i}"
        if not isinstance(permit, Refusal):
            permits.append(permit)
            one.n_streams += 1
        while permits and dice.random() < len(permits) / 150:
            permits.pop(dice.randrange(len(permits))).release()
            one.n_streams -= 1
    assert min(Counter(decisions).values()) > 100


def test_the_queue_delay_is_that_of_the_server() -> None:
    dice, real = random.Random(2), queue_delay.QueueDelay()
    w = world(Cell(1, 1, ModelCost(0.1)))
    recent: list[tuple[float, float]] = []
    for _ in range(600):
        w.now[0].at_s += dice.expovariate(50.0)
        recent.append((w.now[0].at_s, dice.expovariate(3.0)))
        edge.note_taken(w, 0, recent[-1][1])
        w.edges[0].measured_s = -1.0
        assert edge.queue_wait_s(w, 0) == real.measure(recent[-queue_delay.SAMPLES :], [], w.now[0].at_s)


def test_a_client_comes_back_as_the_real_one() -> None:
    w = world(Cell(1, 1, ModelCost(0.1)), n_streams=1)
    policy = reconnect.Reconnect()
    assert (w.rules[0].attempts, w.rules[0].first_wait_s, w.rules[0].longest_wait_s) == (
        policy.attempts, policy.first_wait_s, policy.longest_wait_s,
    )  # fmt: skip
    one, error = w.streams[0], RefusedError(503, "", "7")
    for attempt in range(1, 11):
        before_s = w.now[0].at_s
        for asked_s in (0.0, 7.0):
            one.attempt = attempt - 1
            simulation.stream.come_back(w, 0, asked_s, 0.0)
        waits = []
        while w.now[0].n_events:
            kind, *_ = heap.pop(w)
            waits += [w.now[0].at_s - before_s] * (kind == heap.CONNECT)
        longest_s = min(30.0, 0.5 * 2 ** (attempt - 1))
        assert 0.5 * longest_s <= waits[0] <= longest_s
        # With Retry-After: never sooner.
        assert waits[1] >= min(7.0, reconnect.wait_s(policy, error, attempt))


def test_an_edge_that_is_too_full_falls_behind_and_catches_up() -> None:
    w = world(Cell(1, 1, ModelCost(0.1), EdgeCost(stream_s=0.01, p50_base_s=0.001, p99_base_s=0.002)))
    one, now = w.edges[0], w.now[0]
    one.n_streams = 150  # half a second more than it does in each second
    now.at_s = 10.0
    assert edge.added_s(w, 0) >= 5.0
    one.n_streams, now.at_s = 50, 15.0
    edge.account(w, 0)
    assert one.behind_s == pytest.approx(2.5)


def test_autoscaling_follows_the_load() -> None:
    cell = Cell(
        2, 2, ModelCost(0.1), max_edges=6, max_replicas=20, edge_target=20.0, replica_target=1.0, min_replicas=2,
        calls=2, edge_start_s=1.0, replica_start_s=2.0, max_items=1,
    )  # fmt: skip
    sessions = arrivals.busy_hour(100, 60.0, ramp_s=5.0)
    result = simulation.run(cell, sessions, talk.conversation(500), end_s=60.0, sample_s=1.0)
    assert result.samples["edges"][0] == result.samples["replicas"][0] == 2
    assert 5 <= result.samples["edges"][-1] <= 6  # about 100 streams, 20 each
    assert 5 <= result.samples["replicas"][-1] <= 20
    assert result.counts["finals"] == result.counts["answered"] + result.counts["late"] + result.counts["refused"]


def test_a_zone_has_its_machines() -> None:
    cell = Cell(7, 5, ModelCost(0.1), n_zones=3)
    plan = failures.zone_fails(cell, 10.0, 1, 20.0)
    assert sorted(p.who for p in plan if p.action == failures.EDGE_DEAD) == [1, 4]
    assert sorted(p.who for p in plan if p.action == failures.REPLICA_DEAD) == [1, 4]
    assert UP == 1


def test_a_day_has_its_peaks_and_its_night() -> None:
    assert float(np.max(arrivals.day(np.arange(0, 24, 0.01)))) == pytest.approx(1.0, abs=1e-6)
    assert float(arrivals.day(3.0)) < 0.2
    sessions = arrivals.whole_day(100, mean_s=300.0)
    by_hour = np.histogram(sessions.at_s, 24, (0, 86_400))[0]
    # 100 streams of 300 s each: 1200 come in the busiest hour.
    assert by_hour[11] == pytest.approx(1200 * float(arrivals.day(11.5)), rel=0.1)
    assert sessions.most_at_once(86_400.0) == pytest.approx(100, abs=30)


def test_the_busy_hour_is_level() -> None:
    sessions = arrivals.busy_hour(1000, 1200.0)
    for at_s in (100.0, 600.0, 1100.0):
        live = np.count_nonzero((sessions.at_s <= at_s) & (sessions.at_s + sessions.length_s > at_s))
        assert live == pytest.approx(1000, rel=0.08)


def test_fits_find_what_made_the_points() -> None:
    busy = [0.2, 0.4, 0.6, 0.8]
    base, slope = costs.fit_queue(busy, [0.001 + 0.002 * u / (1 - u) for u in busy])
    assert (base, slope) == (pytest.approx(0.001), pytest.approx(0.002))
    model = ModelCost(0.03, 0.004, 0.02)
    points = [(n, n * s) for n in (1, 2, 8) for s in (1.0, 4.0)]
    found = costs.fit_model([n for n, _ in points], [s for _, s in points], [model.of(n, s) for n, s in points])
    assert (found.fixed_s, found.item_s, found.second_s) == (
        pytest.approx(0.03), pytest.approx(0.004), pytest.approx(0.02),
    )  # fmt: skip


def test_measured_costs_are_there() -> None:
    measured = costs.load()
    assert 0.0003 < costs.edge_cost(measured).stream_s < 0.003
    assert costs.model_cost(measured).of(1, 2.0) > costs.model_cost(measured).of(1, 1.0) > 0.01
    assert costs.recording(measured, "demo").share == pytest.approx(0.55, abs=0.15)


def test_speech_is_that_of_its_source() -> None:
    speech = talk.conversation()
    assert speech.share == pytest.approx(0.385, abs=0.01)
    assert talk.conversation(share=0.5).share == pytest.approx(0.5, abs=0.01)
    assert talk.script([1.0, 2.0], [0.3, 1.0]).utterances_s(0.6).tolist() == [pytest.approx(3.3)]
    assert talk.script([1.0, 2.0], [0.3, 1.0]).mean_cycle_s(0.6) == pytest.approx(4.3)
