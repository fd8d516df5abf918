from collections.abc import Callable, Sized
from typing import Any, Self, final

from typing_extensions import Buffer

from .event import VadEvent
from .intake import PcmIntake
from .session import VadSession

@final
class LiveAudio:
    is_open: bool
    def __new__(
        cls,
        intake: PcmIntake,
        *,
        max_bytes: int,
        unchecked: dict[Any, Any],
        texts: Sized,
        waiting: dict[VadSession, Callable[[list[VadEvent] | BaseException], None]] | None,
        schedule: Callable[[], object] | None,
        on_frames: Callable[[list[VadEvent] | BaseException], None] | Callable[[], None],
        clock: Callable[[], float],
        count: Buffer,
        otherwise: Callable[[bytes], bool],
        on_failure: Callable[[], object],
    ) -> Self: ...
    @property
    def heard_s(self) -> float: ...
    def __call__(self, data: bytes) -> bool: ...
