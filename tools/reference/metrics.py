"""docs/metrics.md: the catalogue of the metrics."""

from __future__ import annotations

from voxgate.observe.metrics.catalogue import CATALOGUE, OTHERS

__all__ = ["metrics"]

_HEAD = """\
# Metrics

<!-- Written by `make reference` from src/voxgate/observe/metrics/catalogue.py. Change that, not this file. -->

`GET /metrics` answers in the text format of Prometheus, or in OpenMetrics on request, and with gzip if accepted. It is
on the server's port, or only on `metrics.port` when that is set. Requests within a second (`metrics.max_age_s`) get the
same answer.

Every series has the label `worker`, the number of the server process, 0 if there is only one (`server.workers`). Each
process answers for all. To see the whole server, sum over it:
`sum without (worker) (rate(voxgate_messages_total[1m]))`. No label holds a value that a client chose, so clients cannot
make series; there are about 700 for each process.

Two sums always hold, at any scrape:

- `voxgate_streams_accepted_total` = `voxgate_streams_total` over all outcomes + `voxgate_streams_active`;
- `voxgate_audio_received_seconds_total` = `voxgate_audio_processed_seconds_total` +
  `voxgate_audio_abandoned_seconds_total` + `voxgate_audio_pending_seconds`.

[Chapter 7](series/7-metrics.md) explains how to read them, with an overload as the example.

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
