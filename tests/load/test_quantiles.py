from __future__ import annotations

import random

from voxgate.load.quantiles import Lateness, Quantiles, quantiles


def test_a_quantile_is_a_value_that_occurred():
    assert quantiles([]) is None
    assert quantiles([0.002]) == Quantiles(1, 2, 2, 2, 2, 2)
    assert quantiles([number / 1000 for number in range(100, 0, -1)]) == Quantiles(100, 50, 95, 99, 100, 100)
    assert quantiles([number / 1e6 for number in range(10_000)]) == Quantiles(10_000, 4.999, 9.499, 9.899, 9.989, 9.999)


def test_lateness_is_counted_in_bins():
    lateness = Lateness()
    assert lateness.quantiles() is None
    values = [number / 1e5 for number in range(1000)]
    random.Random(1).shuffle(values)
    for value in values:
        lateness.add(value + 1e-7)
    lateness.add(2.5)
    found = lateness.quantiles()
    assert found is not None
    assert (found.n, found.max) == (1001, 2500)
    assert abs(found.p50 - 5) < 0.03
    assert abs(found.p99 - 9.9) < 0.03
    assert abs(found.p99_9 - 9.99) < 0.03
    for _ in range(100):
        lateness.add(3)
    late = lateness.quantiles()
    assert late is not None
    assert late.p99 == 1000


def test_the_lateness_of_parts_is_that_of_the_whole():
    whole, parts = Lateness(), [Lateness(), Lateness(), Lateness()]
    for number in range(300):
        late_s = number * 7 % 300 / 1e4
        whole.add(late_s)
        parts[number % 2].add(late_s)  # the third has none
    assert Lateness.merged(parts).quantiles() == whole.quantiles()
    assert Lateness.merged([Lateness()]).quantiles() is None
