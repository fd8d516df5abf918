from typing import Final, Self, final

from typing_extensions import Buffer

from .pcm import PcmDecoder
from .resample import Resampler
from .session import VadSession

TAKEN: Final[int]
WAITING: Final[int]
DECLINED: Final[int]

@final
class Intake:
    due_frames: int
    def __new__(cls, decoder: PcmDecoder, resampler: Resampler | None, session: VadSession) -> Self: ...
    @property
    def decoder(self) -> PcmDecoder: ...
    @property
    def resampler(self) -> Resampler | None: ...
    @property
    def session(self) -> VadSession: ...
    def take(self, data: Buffer) -> int: ...
