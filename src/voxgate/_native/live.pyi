from collections.abc import Callable, Sized
from typing import Any, Self, final

from typing_extensions import Buffer

from .event import VadEvent
from .intake import Intake
from .session import VadSession

@final
class LiveAudio:
    is_open: bool
    def __new__(
        cls,
        intake: Intake,
        *,
        max_bytes: int,
        calls: dict[Any, Any],
        texts: Sized,
        waiting: dict[VadSession, Callable[[list[VadEvent] | BaseException], None]],
        schedule: Callable[[], object],
        on_frames: Callable[[list[VadEvent] | BaseException], None],
        clock: Callable[[], float],
        count: Buffer,
        otherwise: Callable[[bytes], bool],
        on_failure: Callable[[], object],
    ) -> Self: ...
    @property
    def heard_s(self) -> float: ...
    def __call__(self, data: bytes) -> bool: ...
