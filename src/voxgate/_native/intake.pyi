from typing import Final, Self, final

from typing_extensions import Buffer, disjoint_base

from .pcm import PcmDecoder
from .resample import Resampler
from .ring import SampleRing
from .session import VadSession

TAKEN: Final[int]
WAITING: Final[int]
DECLINED: Final[int]

@disjoint_base
class PcmIntake:
    due_frames: int
    @property
    def decoder(self) -> PcmDecoder: ...
    @property
    def resampler(self) -> Resampler | None: ...
    def take(self, data: Buffer) -> int: ...

@final
class Intake(PcmIntake):
    def __new__(cls, decoder: PcmDecoder, resampler: Resampler | None, session: VadSession) -> Self: ...
    @property
    def session(self) -> VadSession: ...

@final
class RingIntake(PcmIntake):
    def __new__(
        cls, decoder: PcmDecoder, resampler: Resampler | None, rings: list[SampleRing], min_samples: int
    ) -> Self: ...
