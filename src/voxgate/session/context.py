"""The parts of a service that its sessions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from voxgate.audio.containers import Decoders
    from voxgate.config import Config
    from voxgate.inference.scheduler import Scheduler
    from voxgate.models.session_options import SessionOptions
    from voxgate.observe.metrics import Tally
    from voxgate.observe.tracing import Tracing
    from voxgate.service.audio_budget import AudioBudget
    from voxgate.service.service import Drainable, Service
    from voxgate.vad.batcher import VadBatcher
    from voxgate.vad.config import VadConfig
    from voxgate.vad.detectors import DetectorFactory
    from voxgate.vad.turns import TurnConfig, TurnJudge

__all__ = ["ServedModel", "SessionContext"]


class ServedModel(Protocol):
    """What sessions need to know of the model."""

    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> int:
        """In Hz."""
        ...


@dataclass(frozen=True, slots=True)
class SessionContext:
    """Everything that a session needs of its server. Used on the event loop's thread alone."""

    config: Config
    model: ServedModel
    session_options: SessionOptions
    scheduler: Scheduler
    detector: DetectorFactory
    vad: VadConfig
    vad_batcher: VadBatcher
    audio_budget: AudioBudget
    decoders: Decoders
    tally: Tally
    tracing: Tracing | None
    public_limits: Mapping[str, Any]
    """The limits that the `started` notice lists."""
    streams: set[Drainable]
    """The open streams, which the server ends when it shuts down."""
    is_draining: Callable[[], bool]
    """Whether the server shuts down: no session opens any more."""
    turn: TurnConfig
    """The settings of turn detection, without those of a client."""
    turn_judge: TurnJudge | None
    """None: there is no turn detector."""

    @classmethod
    def of(cls, service: Service) -> SessionContext:
        """The parts of a service that has started."""
        return cls(
            config=service.config,
            model=service.model,
            session_options=service.session_options,
            scheduler=service.scheduler,
            detector=service.detector,
            vad=service.vad,
            vad_batcher=service.vad_batcher,
            audio_budget=service.audio_budget,
            decoders=service.decoders,
            tally=service.tally,
            tracing=service.tracing,
            public_limits=service.public_limits,
            streams=service.connections,
            is_draining=lambda: service.draining_until_s is not None,
            turn=service.turn,
            turn_judge=service.turn_judge,
        )
