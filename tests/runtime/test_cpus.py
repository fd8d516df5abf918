from __future__ import annotations

import os

import pytest

from voxgate.runtime.cpus import usable_cpus


def test_the_affinity_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert usable_cpus() == 3


@pytest.mark.parametrize(("n_cpus", "expected"), [(7, 7), (None, 1)])
def test_without_affinity_all_cpus_count(monkeypatch: pytest.MonkeyPatch, n_cpus: int | None, expected: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: n_cpus)
    assert usable_cpus() == expected
