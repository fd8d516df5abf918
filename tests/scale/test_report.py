"""What the page says of the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.scale import costs, questions, report, validate
from bench.scale.cell import Cell, ModelCost
from bench.scale.simulation import Result
from bench.scale.validate import Case, Row


def test_a_row_holds_up_to_15_percent() -> None:
    assert Row("", "ms", 100.0, 114.9).holds
    assert Row("", "ms", 100.0, 85.1).holds
    assert not Row("", "ms", 100.0, 115.1).holds
    assert Row("", "ms", 100.0, 120.0).deviation == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("value", "text"), [(0.84, "0.8 ms"), (9.96, "10.0 ms"), (474.4, "474 ms"), (70_210.0, "70 s")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert report.ms(value) == text


def test_the_table_has_the_rows_that_miss_their_case_and_why() -> None:
    about = {
        "when": "2026-11-30",
        "commit": "abc",
        "machine": {"cpus": 2, "cpu": "C", "python": "3.11"},
        "versions": {},
    }
    rows = [
        Row("edge, 20 %: p50", "ms", 100.0, 110.0, "unused"),
        Row("p99", "%", 50.0, 75.0, "because"),
        Row("batches: calls", "a second", 10.0, 10.0),
    ]
    found = {"about": about, "validation": [vars(r) | {"deviation": r.deviation, "holds": r.holds} for r in rows]}
    text = report.validation_table(found)
    assert "2 of 3 rows" in text
    assert text.splitlines()[2:] == [
        "|  | measured | simulated | apart |",
        "|---|---|---|---|",
        "| edge, 20 %: p99 | 50 % | 75 % | +50 %: because |",
    ]


def test_the_page_has_a_place_for_each_part(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text((Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8"), encoding="utf-8")
    before = page.read_text(encoding="utf-8")
    report.write({}, page)
    assert page.read_text(encoding="utf-8") == before, "costs.json has changed: make bench-scale ARGS=--report"
    for part in ("costs", "validation", "sizes", "hour", "faults", "sensitivity", "day", "million"):
        assert before.count(f"<!-- scale: {part} begin -->\n\n") == before.count(f"\n\n<!-- scale: {part} end -->") == 1


def result(latency_s: list[float], refusals: int = 0) -> Result:
    counts: dict[str, Any] = {"refusals": refusals}
    values = np.array(latency_s)
    return Result(Cell(1, 1, ModelCost(0.1)), 0.0, 1.0, counts, values, values, values, {}, 0.5, 1.0, 0.0, 0.0, 0.0, 0)


def test_the_search_finds_the_fewest_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = questions.Runs(1.0, 10)
    tried = []

    def run(name: str, cell: Cell) -> Result:
        tried.append(cell.n_replicas)
        return Result(**{**vars(result([0.1 if cell.n_replicas >= 137 else 0.9])), "cell": cell})

    monkeypatch.setattr(runs, "run", run)
    found = runs.least_replicas("it", Cell(1, 1, ModelCost(0.1)), 40, 80)
    assert tried[:2] == [80, 160]
    assert 137 <= found.cell.n_replicas <= 137 * 1.06


def test_timelines_have_a_point_for_each_10_s() -> None:
    one = result([0.1, 0.2, 0.3])
    samples = {name: np.zeros(1) for name in ("live", "away", "edges", "replicas", "at_s")}
    line = questions.timeline(
        Result(**{**vars(one), "end_s": 30.0, "ended_s": np.array([1.0, 9.0, 25.0]), "samples": samples})
    )
    assert line["at_s"] == [0.0, 10.0, 20.0]
    assert line["p50_s"][0] == pytest.approx(0.15)
    assert np.isnan(line["p50_s"][1])
    assert line["p99_s"][2] == pytest.approx(0.3)


def test_a_case_has_the_capacity_of_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "N_SEEDS", 1)
    edge = costs.edge_cost(costs.load())
    found = Case("x", 30.0, (0.2, 0.0), 8, 0.2).simulate(5.0, edge)
    assert found.let_in == 1.0
    # Half of the capacity: 60 streams keep 8 threads busy.
    assert found.busy(Case("x", 30.0, (0.2, 0.0), 8, 0.2)) > 0.5
