"""What the simulator reads from the tables of docs/performance.md."""

from __future__ import annotations

from pathlib import Path

from bench.scale import measure

CURVES = """
| live streams | CPU of a stream, ms a second | CPU | memory of a stream | added latency p50 / p99 / p99.9 / max |
|---|---|---|---|---|
| 25 | 2.21 | 5.5 % | 166 KiB | 0.5 / 0.8 / 0.9 / 1.0 ms |
| 200 | 1.10 | 25.0 % | 172 KiB | 0.5 / 0.9 / 2.0 / 3.0 ms |
| 900 | 0.89 | 75.0 % |  | 1.8 / 5.9 ms |

| of the capacity | streams | added latency p50 | p99 | p99.9 / max | CPU | |
|---|---|---|---|---|---|---|
| 20 % | 190 | 0.6 ms | 1.4 ms | 2.0 / 2.5 ms | 24 % |  |
| 95 % | 902 | 2.0 ms | 11.2 ms |  | 84 % | over the limit |
"""


def test_the_tables_of_the_cost_curves_are_read() -> None:
    points, checks = measure.of_curves(CURVES)
    assert points == [
        {"streams": 200, "busy": 0.25, "p50_ms": 0.5, "p99_ms": 0.9},
        {"streams": 900, "busy": 0.75, "p50_ms": 1.8, "p99_ms": 5.9},
    ]
    assert checks == [
        {"percent": 20, "streams": 190, "p50_ms": 0.6, "p99_ms": 1.4, "busy": 0.24},
        {"percent": 95, "streams": 902, "p50_ms": 2.0, "p99_ms": 11.2, "busy": 0.84},
    ]


def test_the_page_has_the_tables_in_that_form() -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    points, checks = measure.of_curves(text)
    assert len(points) >= 4
    assert [check["percent"] for check in checks] == [20, 50, 80, 95]
