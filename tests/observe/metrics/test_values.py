"""The values of all metrics, read from a service."""

from __future__ import annotations

import asyncio

from voxgate.config import load_config
from voxgate.models import FunctionModel
from voxgate.observe.metrics.catalogue import CATALOGUE
from voxgate.observe.metrics.values import read_values
from voxgate.service.service import Service

OF_STARTED_PARTS = {
    *("voxgate_real_time_factor", "voxgate_stage_seconds", "voxgate_queue_wait_seconds", "voxgate_queue_jobs"),
    *("voxgate_queued_audio_seconds", "voxgate_running_jobs", "voxgate_batch_size"),
    *("voxgate_inferences_accepted_total", "voxgate_inferences_total", "voxgate_loop_lag_seconds"),
    *("voxgate_loop_held_total", "voxgate_loop_busy_seconds_total"),
}


def test_a_service_has_a_value_for_every_metric_before_and_after_its_start():
    async def main() -> None:
        config = load_config(environ={}, overrides={"vad.detector": "energy"})
        service = Service(config, FunctionModel(lambda audio: {"count": len(audio)}))
        names = {spec.name for spec in CATALOGUE}
        before = read_values(service)
        assert before.keys() == names
        assert {name for name in OF_STARTED_PARTS if before[name]} == set()
        assert before["voxgate_ready"] == {(): 0.0}
        await service.start()
        after = read_values(service)
        assert after.keys() == names
        assert {name for name in OF_STARTED_PARTS if not after[name]} == set()
        assert after["voxgate_ready"] == {(): 1.0}
        await service.stop(30)

    asyncio.run(main())


def test_every_series_has_the_labels_of_the_catalogue():
    config = load_config(environ={}, overrides={"vad.detector": "energy"})
    service = Service(config, FunctionModel(lambda audio: {"count": len(audio)}))
    values = read_values(service)
    for spec in CATALOGUE:
        assert {len(labels) for labels in values[spec.name]} <= {len(spec.labels)}, spec.name
    asyncio.run(service.stop(30))
