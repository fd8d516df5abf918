"""docs/metrics.md: every metric of the catalogue, each in one row."""

from __future__ import annotations

import re

from tools.reference.metrics import metrics
from voxgate.observe.metrics.catalogue import CATALOGUE, OTHERS


def test_every_metric_has_one_row():
    rows = re.findall(r"^\| `([^`]+)` \|", metrics(), re.MULTILINE)
    assert rows == [*(spec.name for spec in CATALOGUE), *(name for name, _ in OTHERS)]


def test_every_row_has_five_cells():
    rows = [line for line in metrics().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
