"""docs/metrics.md: the catalogue of the metrics."""

from __future__ import annotations

from voxgate.observe.metrics.catalogue import CATALOGUE, OTHERS

__all__ = ["metrics"]

_HEAD = """\
# Metrics

<!-- Written by `make reference` from src/voxgate/observe/metrics/catalogue.py. Change that, not this file. -->

`GET /metrics` answers in Prometheus' text format or in OpenMetrics, also with gzip, on the server's port or on
`metrics.port`. An answer is reused for `metrics.max_age_s`. [Chapter 7](series/7-metrics.md) reads an overload from
the metrics.

Every series has the label `worker`, the number of the server process, from 0. Each answers for all, so sum:
`sum without (worker) (rate(voxgate_messages_total[1m]))`. No label holds a value that a client chose; a process has
about 700 series.

Two sums hold at any scrape:

- `voxgate_streams_accepted_total` = `voxgate_streams_total` over all outcomes + `voxgate_streams_active`;
- `voxgate_audio_received_seconds_total` = `voxgate_audio_processed_seconds_total` +
  `voxgate_audio_abandoned_seconds_total` + `voxgate_audio_pending_seconds`.

| metric | type | labels | meaning | when it is high |
|---|---|---|---|---|
"""


def metrics() -> str:
    """The page."""
    rows = [
        f"| `{spec.name}` | {spec.kind} | {', '.join(f'`{label}`' for label in spec.labels)} | {spec.help} |"
        f" {spec.advice} |\n"
        for spec in CATALOGUE
    ]
    others = [f"| `{name}` | | | {text} | |\n" for name, text in OTHERS]
    return _HEAD + "".join(rows + others)
