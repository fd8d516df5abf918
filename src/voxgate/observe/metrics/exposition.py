"""The text of an answer to a scrape, in the format and with the compression that its headers ask for."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from voxgate.observe.metrics.family import Family

__all__ = ["Encoding", "Exposition", "choose_encoding", "write"]

OPENMETRICS = "application/openmetrics-text"


class Exposition(NamedTuple):
    """An answer to a scrape."""

    body: bytes
    headers: dict[str, str]


class Encoding(NamedTuple):
    """How an answer is written. There are only four of them, so that the cache of answers is bounded."""

    is_openmetrics: bool
    is_compressed: bool


def choose_encoding(accept: str, accept_encoding: str) -> Encoding:
    """From the two headers of a request; each may be empty."""
    encodings = [part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")]
    return Encoding(choose_encoder(accept)[1].startswith(OPENMETRICS), "gzip" in encodings)


def write(processes: Iterable[Sequence[Family]], encoding: Encoding) -> Exposition:
    """One answer for several server processes. Any thread may call it; it takes milliseconds."""
    encode, content_type = choose_encoder(OPENMETRICS if encoding.is_openmetrics else "")
    body = encode(_Merged(processes))
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if encoding.is_compressed:
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    return Exposition(body, headers)


class _Merged(Collector):
    """The families of all processes, one for each name."""

    def __init__(self, processes: Iterable[Sequence[Family]]) -> None:
        self._metrics: dict[str, Metric] = {}
        for families in processes:
            for family in families:
                metric = self._metrics.get(family.name)
                if metric is None:
                    metric = self._metrics[family.name] = Metric(family.name, family.help, family.kind)
                for name, labels, value in family.samples:
                    metric.add_sample(name, labels, value)

    def collect(self) -> Iterable[Metric]:
        return self._metrics.values()
