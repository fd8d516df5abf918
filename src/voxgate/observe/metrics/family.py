"""A metric with all its series, as the server processes exchange it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from voxgate.observe.metrics.catalogue import Spec
from voxgate.observe.metrics.values import Values
from voxgate.runtime.histogram import Histogram

__all__ = ["Family", "Sample", "family_of"]

Sample = tuple[str, dict[str, str], float]
"""The name of a series, its labels and its value."""


class Family(msgspec.Struct, array_like=True):
    name: str
    """As OpenMetrics has it: a counter's name without `_total`."""
    kind: str
    help: str
    samples: list[Sample]


def family_of(spec: Spec, values: Values, common: Mapping[str, str]) -> Family:
    """`common`: labels of every series."""
    samples: list[Sample] = []
    for label_values, value in values.items():
        labels = {**common, **dict(zip(spec.labels, label_values, strict=True))}
        if isinstance(value, Histogram):
            samples += _buckets(spec.name, labels, value)
        else:
            samples.append((spec.name, labels, value))
    return Family(spec.family, spec.kind, spec.help, samples)


def _buckets(name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[Sample]:
    counts = histogram.counts.copy()  # another thread may observe meanwhile
    n = 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), counts, strict=True):
        n += count
        yield f"{name}_bucket", {**labels, "le": bound}, n
    yield f"{name}_sum", labels, histogram.total
    yield f"{name}_count", labels, n
