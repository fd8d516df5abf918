from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

class _FrameDetector(Protocol):
    def probability(self, frame: NDArray[np.float32], /) -> float: ...

@disjoint_base
class Detector:
    @property
    def channels(self) -> int: ...
    @property
    def frame_samples(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    def probabilities(self, planes: ArrayLike) -> NDArray[np.float32]: ...
    def reset(self) -> None: ...

@disjoint_base
class CallableDetector(Detector):
    def __init__(
        self, factory: Callable[[], _FrameDetector], channels: int, frame_samples: int, sample_rate: int
    ) -> None: ...
