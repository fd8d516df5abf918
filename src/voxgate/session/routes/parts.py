"""The parts of a server that a route works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from voxgate.config import Config
    from voxgate.inference.scheduler import Scheduler
    from voxgate.observe.metrics import Tally
    from voxgate.vad.batcher import VadBatcher
    from voxgate.vad.config import VadConfig
    from voxgate.vad.detectors import DetectorFactory
    from voxgate.vad.turns import TurnConfig, TurnJudge

__all__ = ["ModelRate", "RouteParts"]


class ModelRate(Protocol):
    """All that a route needs to know of the model."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...


class RouteParts(Protocol):
    """Shared by all sessions of a server process; on the loop's thread."""

    @property
    def config(self) -> Config: ...
    @property
    def model(self) -> ModelRate: ...
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def detector(self) -> DetectorFactory: ...
    @property
    def vad(self) -> VadConfig:
        """The settings of the server, without those of a client."""
        ...

    @property
    def vad_batcher(self) -> VadBatcher: ...
    @property
    def turn(self) -> TurnConfig:
        """The settings of turn detection, without those of a client. Read only with `turn.detector`, like the next."""
        ...

    @property
    def turn_judge(self) -> TurnJudge | None: ...
    @property
    def tally(self) -> Tally: ...
