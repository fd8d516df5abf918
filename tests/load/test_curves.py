"""The cost curves without servers: the climb to the most streams, the fits, and what the report says of them."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "load"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])  # the modules add to it themselves
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name in ("curves", "curve_report", "fits", "idle", "report", "search", "servers"):
            del sys.modules[name]


# The fits


def test_a_cost_falls_is_level_and_rises(modules: Any) -> None:
    fits = modules("fits")
    numbers = [1, 2, 5, 10, 50, 100, 200, 400]
    assert fits.knee(numbers, [40, 30, 20, 11.9, 10.5, 10, 11, 12.1]) == fits.Knee(10, 10, 400)
    assert fits.knee(numbers, [40, 30, 20, 12.1, 10.5, 10, 11, 12.0]) == fits.Knee(10, 50, None)


def test_a_cost_that_only_rises_or_is_none(modules: Any) -> None:
    fits = modules("fits")
    assert fits.knee([1, 2, 4], [1.0, 1.3, 2.0]) == fits.Knee(1.0, 1, 2)
    assert fits.knee([7], [3.0]) == fits.Knee(3.0, 7, None)
    assert fits.knee([], []) is None


def test_the_line_and_its_worst_point(modules: Any) -> None:
    fits = modules("fits")
    exact = fits.line([25, 100, 400], [100 + 2 * n for n in (25, 100, 400)])
    assert (exact.fixed, exact.per_stream) == (pytest.approx(100), pytest.approx(2))
    assert exact.worst == pytest.approx(0, abs=1e-9)
    bent = fits.line([1, 2, 3, 4], [10, 20, 30, 80])
    assert bent.per_stream == pytest.approx(22)
    assert bent.fixed == pytest.approx(-20)
    assert bent.worst == pytest.approx(4)  # 10, where the line says 2; elsewhere it is nearer
    assert fits.line([1, 2], [1, 2]) is None


# The climb


def climb(modules: Any, capacity: int, hiccup_at: int | None = None, cores: float = 1.0) -> tuple[Any, list[int]]:
    curves = modules("curves")
    seen: list[int] = []

    async def look(n_streams: int) -> dict[str, Any]:
        seen.append(n_streams)
        is_hiccup = n_streams == hiccup_at and seen.count(n_streams) == 1
        busy = 0.3 if is_hiccup else min(1.0, cores * n_streams / capacity) if capacity else 1.0
        return {"borne": n_streams <= capacity and not is_hiccup, "server_cores": busy}

    async def recover(n_streams: int) -> None: ...

    return asyncio.run(curves.climb(look, recover, curves.FULL, lambda: len(seen) >= 40)), seen


@pytest.mark.parametrize("capacity", [1, 7, 90, 730, 1500])
def test_the_climb_finds_the_most_that_are_borne(modules: Any, capacity: int) -> None:
    (found, is_exact), seen = climb(modules, capacity)
    assert is_exact
    assert 0.94 * capacity - 1 <= found <= capacity
    assert len(seen) == len(set(seen))


def test_what_fails_with_time_left_is_looked_at_again(modules: Any) -> None:
    (found, is_exact), seen = climb(modules, 730, hiccup_at=100)
    assert is_exact
    assert found > 690
    assert seen.count(100) == 2


def test_what_fails_three_times_with_time_left_has_failed(modules: Any) -> None:
    (found, is_exact), seen = climb(modules, 730, cores=0.5)
    assert is_exact
    assert found <= 730
    assert seen.count(800) == 3


def test_a_server_that_bears_none(modules: Any) -> None:
    assert climb(modules, 0) == ((0, True), [1])


def test_a_climb_ends_at_the_most_that_is_tried(modules: Any) -> None:
    (found, is_exact), seen = climb(modules, 10**6)
    assert (found, is_exact) == (4000, False)
    assert seen == [1, 2, 5, 10, 25, 50, 100, 200, *range(400, 4001, 200)]


def test_few_answers_are_enough_when_none_is_wrong(modules: Any) -> None:
    curves = modules("curves")
    added = types.SimpleNamespace(n=3, p99=50.0)
    probe = types.SimpleNamespace(passed=False, added=added, is_late=False, n_wrong=0)
    assert curves.bears(probe, curves.Limits())
    for change in ({"is_late": True}, {"n_wrong": 1}, {"added": types.SimpleNamespace(n=100, p99=50.0)}):
        assert not curves.bears(types.SimpleNamespace(**{**vars(probe), **change}), curves.Limits())


def test_the_sleeps_and_the_memory_of_a_process(modules: Any) -> None:
    """Of this one, which has slept, and holds more than nothing."""
    curves = modules("curves")
    assert curves.sleeps_of(os.getpid()) > 0
    assert curves.held_mib((os.getpid(),)) > 1


# The report


def seen_at(n_streams: int, cores: float, memory_kib: float, **more: Any) -> dict[str, Any]:
    added = {"n": 100, "p50": 1.04, "p95": 2.0, "p99": 3.04, "p99_9": 3.54, "max": 4.0}
    seen = {
        "n_streams": n_streams, "passed": True, "borne": True, "is_late": False, "seconds": 5.0, "added": added,
        "generator_cores": 0.25, "server_cores": cores, "cpu_us_per_message": 1e6 * cores / (50 * n_streams),
        "memory_kib_per_stream": memory_kib, "n_wrong": 0, "problems": [], "wakeups_per_message": 1 / n_streams,
        "has_shrunk": False,
    }  # fmt: skip
    return seen | more


def document() -> dict[str, Any]:
    points = [
        seen_at(1, 0.004, 3000.0),
        seen_at(25, 0.05, 150.0),
        seen_at(100, 0.1, 110.0, borne=False, is_late=True),
        seen_at(100, 0.1, 75.0),
        seen_at(400, 0.4, 56.25),
        seen_at(800, 1.0, 90.0, borne=False),
        seen_at(300, 0.3, 240.0, has_shrunk=True),
    ]
    late = seen_at(200, 0.5, 60.0, is_late=True, borne=False)
    worker = {"alone_mib": 120.4, "busiest_share": 0.6, "share": 0.5}
    return {
        "kind": "curves",
        "when": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "a CPU", "cpus": 2, "python": "3.11"},
        "versions": {"numpy": "2"},
        "commit": "abc",
        "quick": False,
        "limits": {"added_ms": 20.0, "late_ms": 5.0},
        "case": {"route": "segmented", "chunk_ms": 20, "rate": 16_000, "channels": 1},
        "starts": [{"name": "dummy", "seconds": [0.4, 0.5, 0.9]}],
        "idle": [{"name": "connected only", "n": 500, "kib_each": 20.04, "cores": 0.0012}],
        "curve": {"capacity": 400, "is_exact": True, "by_generator": False, "idle_cores": 0.001, "points": points},
        "latency": [{"share": 0.95, **seen_at(380, 0.4, 60.0)}],
        "workers": [
            {"layout": "one process", **worker, **seen_at(200, 0.2, 60.0)},
            {"layout": "one process", **worker, **seen_at(80, 0.1, 60.0), "share": 0.2},
            {"layout": "two processes, a core each (shared with the load)", **worker, **late},
        ],
        "failed": [],
    }


def test_the_fits_go_by_what_was_borne(modules: Any) -> None:
    cpu, wakeups, memory = modules("curve_report").fits_of(document())
    assert cpu == "A stream takes at least 1.00 ms of CPU a second, and at most 20 % more from 100 streams to 400."
    assert "1.00 times a message with 1 stream, 0.00 times with 400." in wakeups
    assert memory.startswith("From 25 to 400 streams, each more takes 50.0 KiB; no point is further than")


def test_the_tables(modules: Any) -> None:
    text = modules("curve_report").markdown(document())
    rows = text.splitlines()
    assert "| 100 | 1.00 | 10.0 % | 75 KiB | 1.0 / 3.0 / 3.5 / 4.0 ms |" in rows
    assert not any(row.startswith("| 800 |") for row in rows)
    # Its memory is that of the 800.
    assert "| 300 | 1.00 | 30.0 % |  | 1.0 / 3.0 / 3.5 / 4.0 ms |" in rows
    assert "| 95 % | 380 | 1.0 ms | 3.0 ms | 3.5 / 4.0 ms | 40 % |  |" in rows
    assert "| 500 connected only | 20.0 KiB | 0.12 % of a core |" in rows
    assert "| dummy | 0.50 s | 0.40 to 0.90 s in 3 starts |" in rows
    assert any(row.startswith("| two processes, a core each") and "no measure" in row for row in rows)
    assert "| one process | 200 | 20 % | 20.0 us | 60 % | 1.0 / 3.0 / 3.5 / 4.0 ms | 120 MiB |  |" in rows
    assert not any(row.startswith("| one process | 80 |") for row in rows)
    assert "which takes 25 % of it" in text
    assert "Capacity: 400 streams, with a p99" in text


def test_what_there_is_not_is_no_table(modules: Any) -> None:
    curve = {"capacity": 0, "is_exact": False, "by_generator": False, "idle_cores": 0.0, "points": []}
    nothing = document() | {"starts": [], "idle": [], "latency": [], "workers": [], "curve": curve}
    text = modules("curve_report").markdown(nothing | {"failed": ["the curve: it broke"]})
    assert "|" not in text
    assert "No number of streams passed" in text
    assert text.endswith("Without a result: the curve: it broke.")


def test_it_goes_between_its_own_marks(
    modules: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    result, docs = tmp_path / "curves.json", tmp_path / "performance.md"
    result.write_text(json.dumps(document()))
    others = "<!-- load suite: begin -->\nthe suite's\n<!-- load suite: end -->\n"
    docs.write_text(f"# Performance\n\n{others}")
    report = modules("report")
    monkeypatch.setattr(sys, "argv", ["report.py", str(result), "--docs", str(docs), "--images", str(tmp_path)])
    for _ in range(2):  # The second time in place of the first.
        assert report.main() == 0
    text = docs.read_text()
    start = f"# Performance\n\n{others}\n## What streams cost\n\n<!-- cost curves: begin -->\n"
    assert text.startswith(start)
    assert text.count("| 100 | 1.00 |") == 1
    assert "<svg" in (tmp_path / "load-curves.svg").read_text()
