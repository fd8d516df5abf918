"""A metric with all its series."""

from __future__ import annotations

import msgspec

from voxgate.observe.metrics.catalogue import Spec
from voxgate.observe.metrics.family import Family, family_of
from voxgate.runtime.histogram import Histogram

WORKER = {"worker": "1"}


def test_a_counter_has_its_labels_and_the_common_ones():
    spec = Spec("voxgate_closes_total", "counter", ("code",), "Closes.")
    family = family_of(spec, {("1000",): 2, ("1001",): 3}, WORKER)
    assert (family.name, family.kind, family.help) == ("voxgate_closes", "counter", "Closes.")
    assert family.samples == [
        ("voxgate_closes_total", {"worker": "1", "code": "1000"}, 2),
        ("voxgate_closes_total", {"worker": "1", "code": "1001"}, 3),
    ]


def test_the_buckets_of_a_histogram_are_cumulative():
    histogram = Histogram((0.5, 1.0))
    for value in (0.25, 0.5, 0.75, 4.0):
        histogram.observe(value)
    family = family_of(Spec("voxgate_wait_seconds", "histogram", (), "Wait."), {(): histogram}, WORKER)
    assert family.samples == [
        ("voxgate_wait_seconds_bucket", {"worker": "1", "le": "0.5"}, 2),
        ("voxgate_wait_seconds_bucket", {"worker": "1", "le": "1.0"}, 3),
        ("voxgate_wait_seconds_bucket", {"worker": "1", "le": "+Inf"}, 4),
        ("voxgate_wait_seconds_sum", {"worker": "1"}, 5.5),
        ("voxgate_wait_seconds_count", {"worker": "1"}, 4),
    ]


def test_a_family_crosses_to_a_peer_unchanged():
    family = Family("a", "gauge", "A.", [("a", {"worker": "0"}, 1.0)])
    assert msgspec.json.decode(msgspec.json.encode([family]), type=list[Family]) == [family]
