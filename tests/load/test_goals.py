"""The table of goals of the load suite, for results as it writes them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NAMES = {"segmented-20ms-16k-mono": "20 ms", "simple-20ms-16k-mono": "simple"}


@pytest.fixture
def goals(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench" / "load")
    return importlib.import_module("goals")


def probe(n_streams: int, cost_us: float, is_late: bool = False) -> dict[str, Any]:
    return {"n_streams": n_streams, "cpu_us_per_message": cost_us, "is_late": is_late, "added": {}, "passed": True}


def result(n_streams: int, *probes: dict[str, Any]) -> dict[str, Any]:
    return {"n_streams": n_streams, "probes": list(probes)}


def test_a_goal_is_met_by_the_number_or_by_the_ratio(goals: ModuleType) -> None:
    ours = result(1000, probe(400, 20.0), probe(780, 12.0), probe(800, 1.0, is_late=True), probe(1000, 13.0))
    cases = {
        "segmented-20ms-16k-mono": {"voxgate": ours, "plain": result(125, probe(125, 96.0))},
        "simple-20ms-16k-mono": {"voxgate": result(400), "plain": result(200)},
    }
    assert goals.table(cases, NAMES) == [
        "| | goal | measured | against the plain server | met |",
        "|---|---|---|---|---|",
        "| 20 ms | 1300 streams or 7.5x | 1000 streams | 8.0x | yes |",
        "| simple | 3x | 400 streams | 2.0x | no |",
        "| CPU of a message, 780 streams | 12.5 us | 12.0 us | 8.0x less | yes |",
    ]


def test_what_was_not_measured_has_no_row(goals: ModuleType) -> None:
    assert goals.table({}, {}) == []
    alone = {"segmented-20ms-16k-mono": {"voxgate": result(1300, probe(400, 20.0))}}
    assert goals.table(alone, NAMES)[2:] == ["| 20 ms | 1300 streams or 7.5x | 1300 streams |  | yes |"]
