from collections.abc import Mapping
from typing import Self, final

import numpy as np
import numpy.typing as npt

from .detector import Detector

@final
class SileroNetwork:
    def __new__(cls, weights: Mapping[str, npt.ArrayLike], isa: str | None = None, precision: str | None = None) -> Self: ...
    @property
    def isa(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def half(self) -> bool: ...

@final
class SileroDetector(Detector):
    def __new__(cls, network: SileroNetwork, channels: int = 1) -> Self: ...
    @property
    def network(self) -> SileroNetwork: ...

def precisions(isa: str | None = None) -> tuple[str, ...]: ...
def activations(
    values: npt.ArrayLike, isa: str | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...
