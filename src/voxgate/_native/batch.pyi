from typing import Generic, TypeVar, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

_Job = TypeVar("_Job")

@final
class Interrupt:
    @property
    def is_set(self) -> bool: ...
    def set(self) -> None: ...

@final
class BatchQueue(Generic[_Job]):
    def __new__(
        cls, max_jobs: int, max_samples: int, stream_jobs: int = 0, stream_samples: int = 0
    ) -> BatchQueue[_Job]: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def depths(self) -> tuple[int, int, int, int]: ...
    def put(
        self,
        job: _Job,
        audio: NDArray[np.float32] | None,
        stream: object,
        final: bool = True,
        n_samples: int = -1,
        alone: bool = False,
        front: bool = False,
        group: object | None = None,
        speculative: bool = False,
        pin: object = None,
        wake: bool = True,
    ) -> None: ...
    def wake(self) -> None: ...
    def cancel(self, job: _Job) -> bool: ...
    def take(
        self,
        max_items: int,
        max_samples: int = 0,
        window_s: float = 0.0,
        arena: Buffer | None = None,
        interrupt: Interrupt | None = None,
        pin: object = None,
    ) -> tuple[list[_Job], NDArray[np.float32] | None, NDArray[np.int64]] | None: ...
    def interrupt(self, interrupt: Interrupt) -> None: ...
    def unpin(self, pin: object) -> list[_Job]: ...
    def close(self) -> list[_Job]: ...
