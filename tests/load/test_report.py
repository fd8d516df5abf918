"""The report of a run, as a table and as JSON."""

from __future__ import annotations

import json

from voxgate.load.quantiles import Quantiles
from voxgate.load.report import as_json, document, table
from voxgate.load.run import Counts, Outcome, ServerCost

TIMES = Quantiles(10, 1.0, 2.0, 3.0, 3.5, 4.0)


def outcome(is_late: bool = False, window_s: float = 20.0, connected: int = 3) -> Outcome:
    counts = Counts(3, connected, 2, 1, {"503": 1}, {"503": "full"}, {"1000": 2, "1011": 1}, {}, {}, ["a difference"])
    cost = ServerCost(0.5, 1.0, 20.0, 100.0, 30.0)
    return Outcome(window_s, TIMES, is_late, 0.2, counts, TIMES, TIMES, TIMES, None, None, cost)


def test_the_table_lists_what_happened() -> None:
    lines = table(outcome(), 5.0).splitlines()
    assert lines[:5] == [
        "streams      2 of 3 complete, all live for 20.0 s",
        "refused      1 x HTTP 503 (full)",
        "closed       1 x 1011",
        "different    1 streams, such as: a difference",
        "generator    sent late by p50 1.00, p99 3.00, max 4.00 ms; 20 % of a core",
    ]
    assert "server       50.0 % of a core, 20.0 us a message; 100 MiB, 30 KiB a stream" in lines
    assert lines[-1].split() == ["added", "latency", "1.0", "2.0", "3.0", "3.5", "4.0", "10"]


def test_a_late_generator_marks_every_row() -> None:
    text = table(outcome(is_late=True), 5.0)
    assert "This program was late by more than 5 ms (p99)" in text
    assert "server ~" in text
    assert "added latency ~" in text


def test_too_few_streams_or_too_little_time_are_reported() -> None:
    assert table(outcome(connected=0), 5.0).endswith("The server accepted no stream, so there are no measurements.")
    assert "All streams were never live for a second" in table(outcome(window_s=0.5), 5.0)


def test_the_document_is_json_with_the_settings() -> None:
    report = json.loads(as_json(document(outcome(), {"streams": 3})))
    assert (report["schema"], report["settings"], report["counts"]["completed"]) == (1, {"streams": 3}, 2)
    assert report["versions"]["voxgate"]
