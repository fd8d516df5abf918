"""The list of all metrics."""

from __future__ import annotations

import re
from pathlib import Path

from voxgate.observe.metrics.catalogue import CATALOGUE, Spec

DOCS = Path(__file__).parents[3] / "docs"
PARTS = ("bucket", "sum", "count")


def test_names_say_their_kind():
    names = [spec.name for spec in CATALOGUE]
    assert len(set(names)) == len(names)
    for spec in CATALOGUE:
        assert spec.name.startswith("voxgate_")
        assert spec.name.endswith("_total") is (spec.kind == "counter")
        assert spec.name.endswith("_info") is (spec.kind == "info")
        assert "worker" not in spec.labels


def test_a_family_has_the_name_without_the_suffix_of_its_samples():
    assert Spec("a_total", "counter", (), "").family == "a"
    assert Spec("a_info", "info", (), "").family == "a"
    assert Spec("a_seconds", "histogram", (), "").family == "a_seconds"


def test_the_documents_name_no_metric_that_is_not_there():
    names = {spec.name for spec in CATALOGUE}
    names |= {f"{spec.name}_{part}" for spec in CATALOGUE if spec.kind == "histogram" for part in PARTS}
    told = {
        (page.relative_to(DOCS).as_posix(), name)
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"\bvoxgate_[a-z_]*[a-z]\b", page.read_text(encoding="utf-8"))
    }
    assert len(told) > 50
    names |= {"voxgate_client"}  # a package
    assert {(page, name) for page, name in told if name not in names} == set()
