"""The load suite without servers: its search finds what there is to find, and its report says it."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

BENCH = Path(__file__).parents[2] / "bench" / "load"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name in ("goals", "search", "report", "suite"):
            del sys.modules[name]


class FakePopulation:
    """Bears `capacity` streams, which take `cores_per_stream` each; `late_from`: the generator cannot do more."""

    def __init__(
        self, search: Any, capacity: int, cores_per_stream: float, late_from: int, late_once: bool, n_stalls: int = 0
    ) -> None:
        self.search, self.capacity, self.cores, self.late_from = search, capacity, cores_per_stream, late_from
        self.late_once = late_once
        self.n_stalls = n_stalls  # probes above half of the capacity that something else spoils
        self.generator = self
        self.connect_s: list[float] = []
        self.corrected = 0

    @property
    def tally(self) -> FakePopulation:
        return self

    def start(self) -> None: ...

    def stop(self) -> None: ...

    async def resize(self, n_streams: int) -> None: ...

    async def wait(self, seconds: float) -> None: ...

    async def probe(self, n_streams: int, window_s: float, limits: Any) -> Any:
        is_late, self.late_once = n_streams >= self.late_from or self.late_once, False
        is_stalled = 2 * n_streams > self.capacity and self.n_stalls > 0
        self.n_stalls -= is_stalled
        passed = n_streams <= self.capacity and not is_late and not is_stalled
        p99 = 5.0 if n_streams <= self.capacity else 500.0
        quantiles = self.search.Quantiles(100, 1.0, 2.0, p99, p99, p99)
        cores = min(1.0, n_streams * self.cores)
        return self.search.Probe(
            n_streams, passed, is_late, window_s, quantiles, quantiles, quantiles, 0.1, cores, 20.0, 60.0, 0, []
        )


def found(modules: Any, monkeypatch: pytest.MonkeyPatch, **kind: Any) -> Any:
    search = modules("search")
    monkeypatch.setattr(search, "Population", lambda plan, pid: FakePopulation(search, **kind))
    effort = search.Effort(window_s=1.0, max_probes=40, time_s=1e6)
    return asyncio.run(search.search(None, 0, effort, search.Limits()))


@pytest.mark.parametrize("late_once", [False, True])
@pytest.mark.parametrize("promise", [0.5, 0.9, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("capacity", [45, 230, 1000, 3000])
def test_the_search_finds_the_capacity(
    modules: Any, monkeypatch: pytest.MonkeyPatch, capacity: int, promise: float, late_once: bool
) -> None:
    kind = {"cores_per_stream": 1 / (promise * capacity), "late_from": 10**9, "late_once": late_once}
    result = found(modules, monkeypatch, capacity=capacity, **kind)
    assert result.is_exact
    assert not result.by_generator
    assert 0.94 * capacity - 1 <= result.n_streams <= capacity


def test_less_than_the_first_number(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = found(modules, monkeypatch, capacity=7, cores_per_stream=0.1, late_from=10**9, late_once=False)
    assert (result.n_streams, result.is_exact) == (7, True)
    none = found(modules, monkeypatch, capacity=0, cores_per_stream=0.1, late_from=10**9, late_once=False)
    assert (none.n_streams, none.is_exact) == (0, True)


def test_where_the_generator_is_the_limit_it_is_said(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = found(modules, monkeypatch, capacity=5000, cores_per_stream=1 / 5000, late_from=1000, late_once=False)
    assert result.by_generator
    assert 940 <= result.n_streams < 1000


def test_what_fails_with_a_core_that_has_time_left_is_looked_at_again(
    modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: then it has failed."""
    kind = {"cores_per_stream": 0.92 / 900, "late_from": 10**9, "late_once": False}
    monkeypatch.setattr(modules("search"), "BUSY_CORES", 2.0)
    result = found(modules, monkeypatch, capacity=1000, n_stalls=2, **kind)
    assert 940 <= result.n_streams <= 1000
    assert result.is_exact
    below = found(modules, monkeypatch, capacity=1000, n_stalls=3, **kind)
    first_failed = next(probe.n_streams for probe in below.probes if not probe.passed)
    assert [probe.n_streams for probe in below.probes].count(first_failed) == 3
    assert below.n_streams < first_failed


def test_a_search_takes_few_probes(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a message costs twice as much at first as it does with many streams."""
    search = modules("search")

    class Falling(FakePopulation):
        async def probe(self, n_streams: int, window_s: float, limits: Any) -> Any:
            probe = await super().probe(n_streams, window_s, limits)
            cores = 0.9 * (n_streams + 50) / (self.capacity + 50)
            return msgspec.structs.replace(probe, server_cores=min(1.0, cores))

    for capacity in (120, 700, 1300, 2400):
        kind = {"cores_per_stream": 0.0, "late_from": 10**9, "late_once": False}
        monkeypatch.setattr(search, "Population", lambda plan, pid, c=capacity, k=kind: Falling(search, c, **k))
        effort = search.Effort(window_s=1.0, max_probes=7, time_s=1e6)
        result = asyncio.run(search.search(None, 0, effort, search.Limits()))
        assert result.is_exact


def test_a_step_upwards_stops_at_the_number_of_a_goal(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    search = modules("search")
    kind = {"cores_per_stream": 1 / 1000, "late_from": 10**9, "late_once": False}
    monkeypatch.setattr(search, "Population", lambda plan, pid: FakePopulation(search, 1000, **kind))
    effort = search.Effort(window_s=1.0, max_probes=40, time_s=1e6)
    result = asyncio.run(search.search(None, 0, effort, search.Limits(), stop_at=800))
    assert [probe.n_streams for probe in result.probes][:3] == [40, 800, 920]
    assert result.is_exact


def test_every_kind_of_fault_has_its_words(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    search = modules("search")
    tally = search.Tally(differences=["this", "that"])
    tally.failures["the connection was lost"] += 2
    tally.errors["overloaded"] += 3
    tally.refusals[503] += 4
    tally.refusal_reasons[503] = "at its limit"
    assert search.problems_of(tally) == [
        "this", "2 x the connection was lost", "3 x error overloaded", "4 x HTTP 503: at its limit"
    ]  # fmt: skip
    assert search.problems_of(search.Tally()) == []


def test_a_pause_spoils_the_seconds_of_a_probe_that_it_falls_into(
    modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The p99 is the median of the seven; p99.9 and the maximum show the pause."""
    search = modules("search")
    measures = search.Measures()
    measures.from_s, measures.until_s = 100.0, 107.0
    for part in range(7):
        for number in range(200):
            sent_s = 100 + part + number / 200
            measures.result(sent_s, sent_s + (0.2 if part in (2, 5, 6) else 0.004 + part / 1000), None)
    added = search.added_quantiles(measures, 7)
    assert added.n == 1400
    assert added.p99 == pytest.approx(8.0)
    assert (added.p99_9, added.max) == (pytest.approx(200), pytest.approx(200))
    measures.result(106.9999, 107.1, None)  # the end of the last second belongs to it
    assert search.added_quantiles(measures, 7).n == 1401
    assert search.added_quantiles(search.Measures(), 7) is None


def test_seconds_without_an_answer_have_no_p99(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    search = modules("search")
    measures = search.Measures()
    measures.from_s, measures.until_s = 0.0, 4.0
    for sent_s, took_s in ((0.5, 0.001), (3.5, 0.003)):
        measures.result(sent_s, sent_s + took_s, None)
    assert search.added_quantiles(measures, 4).p99 == pytest.approx(3.0)


def document(modules: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    results = []
    for kind, capacity in (("voxgate", 1000), ("plain", 250)):
        for route, channels in (("segmented", 2), ("simple", 1)):
            result = found(
                modules, monkeypatch, capacity=capacity, cores_per_stream=1 / capacity, late_from=10**9, late_once=False
            )
            case = {"case": route, "kind": kind, "route": route, "chunk_ms": 20, "rate": 48_000, "channels": channels}
            results.append(case | msgspec.to_builtins(result))
    return {
        "when": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "a CPU", "cpus": 2, "python": "3.11"},
        "versions": {"numpy": "2"},
        "commit": "abc",
        "quick": False,
        "limits": {"added_ms": 20.0, "late_ms": 20.0},
        "results": results,
        "failed": [],
    }


def test_the_report_goes_between_its_marks(
    modules: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    written = document(modules, monkeypatch)
    result, docs = tmp_path / "load.json", tmp_path / "performance.md"
    result.write_text(json.dumps(written))
    docs.write_text("# Performance\n\nbefore\n")
    report = modules("report")
    monkeypatch.setattr(sys, "argv", ["report.py", str(result), "--docs", str(docs), "--images", str(tmp_path)])
    for _ in range(2):  # The second time in place of the first.
        assert report.main() == 0
    text = docs.read_text()
    assert text.startswith("# Performance\n\nbefore\n\n## Live streams on a core\n\n<!-- load suite: begin -->\n")
    assert text.count("| segmented, 20 ms, 48 kHz, stereo |") == 2  # capacity, and detail
    row = next(line for line in text.splitlines() if line.startswith("| segmented") and "x**" in line)
    ours, theirs = (int(cell) for cell in row.split("|")[2:4])
    assert row.endswith(f"| **{ours / theirs:.1f}x** |")
    for name in ("load-capacity.svg", "load-latency.svg"):
        assert "<svg" in (tmp_path / name).read_text()


def test_compressed_audio_has_a_case_of_its_own(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain server has no row in it."""
    pytest.importorskip("matplotlib")
    suite, report = modules("suite"), modules("report")
    (case,) = (case for case in suite.CASES if case.container is not None)
    assert case.name == "segmented-300ms-webm"
    written = document(modules, monkeypatch)
    (result,) = (one for one in written["results"] if (one["case"], one["kind"]) == ("simple", "voxgate"))
    written["results"] = [{**result, "case": case.name, **vars(case)}]
    table = report.capacity_table(written)
    assert table[-1] == f"| segmented, 300 ms, WebM with Opus | {result['n_streams']} |  |  |"


def test_a_quick_run_is_written_nowhere(
    modules: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, docs = tmp_path / "load.json", tmp_path / "performance.md"
    result.write_text(json.dumps(document(modules, monkeypatch) | {"quick": True}))
    report = modules("report")
    monkeypatch.setattr(sys, "argv", ["report.py", str(result), "--docs", str(docs), "--images", str(tmp_path)])
    assert report.main() == 0
    assert not docs.exists()
    assert "nothing written" in capsys.readouterr().out
