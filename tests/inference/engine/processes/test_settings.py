"""The settings of the engine of worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helpers import worker_models as does
from helpers.job_source import Source
from voxgate.errors import ConfigError
from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings
from voxgate.inference.engine.processes import settings as settings_module

Started = Callable[..., tuple[ProcessEngine, Source]]


def test_workers_share_the_cpus_unless_the_environment_says_otherwise(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "usable_cpus", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    _, source = start(processes=2)
    assert source.one(does.PID)["omp"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    _, source = start(processes=1)
    assert source.one(does.PID)["omp"] == "5"


@pytest.mark.parametrize("settings", [{"processes": -1}, {"processes": 2000}, {"max_batch_size": 0}])
def test_numbers_out_of_range(settings: Any) -> None:
    with pytest.raises(ConfigError, match=r"inference\."):
        ProcessSettings("dummy", **settings)
