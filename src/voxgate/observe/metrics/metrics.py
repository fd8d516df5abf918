"""The metrics of a server process, and the answers to scrapes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from voxgate.observe.metrics.catalogue import CATALOGUE
from voxgate.observe.metrics.exposition import Encoding, Exposition, choose_encoding, write
from voxgate.observe.metrics.family import Family, Sample, family_of
from voxgate.observe.metrics.values import Source, read_values
from voxgate.runtime import tasks

__all__ = ["Metrics"]

_SUBSYSTEM = "metrics"


class Metrics:
    """The metrics of one server process; two processes share nothing here.

    When several processes serve one port, a scrape may reach any of them: that one asks its `peers` and answers for
    all. Every series carries the label `worker`, the number of its process, also when there is only one.

    An answer costs milliseconds of CPU: requests within `max_age_s` seconds, and those that arrive while an answer is
    being made, share it. 0: every request gets a new one.
    """

    def __init__(self, source: Source, worker: int = 0, max_age_s: float = 0.0) -> None:
        self._source = source
        self._max_age_s = max_age_s
        self._snapshot: _Snapshot | None = None
        self.worker = str(worker)
        self.peers: Callable[[], Awaitable[list[str]]] | None = None
        """Fetches the `snapshot` of every other server process; those that do not answer in time are left out."""
        self.port: int | None = None
        """The port that serves `/metrics` and nothing else; None: the server's port serves it."""
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    def snapshot(self) -> str:
        """The metrics of this process as JSON, for a peer's answer. On the loop's thread: all are of one moment."""
        return msgspec.json.encode(self._families()).decode()

    async def expose(self, accept: str = "", accept_encoding: str = "") -> Exposition:
        """The answer to a scrape with these headers: the metrics of this process and of its peers."""
        encoding = choose_encoding(accept, accept_encoding)
        snapshot = self._snapshot
        if snapshot is None or not self._is_fresh(snapshot):
            snapshot = self._snapshot = _Snapshot(tasks.spawn_task(self._collect(), "metrics-numbers", _SUBSYSTEM))
        return await asyncio.shield(snapshot.written(encoding))  # other requests may wait for it too

    def _is_fresh(self, snapshot: _Snapshot) -> bool:
        if not self._max_age_s:
            return False
        return not snapshot.is_done or time.monotonic() - snapshot.began_s < self._max_age_s

    async def _collect(self) -> tuple[list[Family], list[str]]:
        """The metrics of this process, and the snapshots of its peers."""
        snapshots = await self.peers() if self.peers is not None else []
        return self._families(), snapshots

    def _families(self) -> list[Family]:
        common = {"worker": self.worker}
        values = read_values(self._source)
        families = [family_of(spec, values[spec.name], common) for spec in CATALOGUE]
        for metric in self._process.collect():
            samples: list[Sample] = [
                (sample.name, {**common, **sample.labels}, sample.value) for sample in metric.samples
            ]
            families.append(Family(metric.name, metric.type, metric.documentation, samples))
        return families


class _Snapshot:
    """The metrics of one moment, and the answers that have been written from them."""

    def __init__(self, numbers: asyncio.Task[tuple[list[Family], list[str]]]) -> None:
        self.began_s = time.monotonic()
        self._numbers = numbers
        self._written: dict[Encoding, asyncio.Task[Exposition]] = {}

    @property
    def is_done(self) -> bool:
        return self._numbers.done() and all(task.done() for task in self._written.values())

    def written(self, encoding: Encoding) -> asyncio.Task[Exposition]:
        """Written once for each encoding."""
        task = self._written.get(encoding)
        if task is None:
            task = self._written[encoding] = tasks.spawn_task(self._write(encoding), "metrics-writing", _SUBSYSTEM)
        return task

    async def _write(self, encoding: Encoding) -> Exposition:
        own, peers = await self._numbers

        def decode_and_write() -> Exposition:
            return write([own, *(msgspec.json.decode(text, type=list[Family]) for text in peers)], encoding)

        # It takes milliseconds, in which the loop serves streams.
        return await tasks.run_in_thread(decode_and_write, "voxgate-metrics", _SUBSYSTEM)
