from collections.abc import Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

from voxgate._native.detector import Detector

class SileroNetwork:
    isa: str
    nbytes: int
    def __init__(self, weights: Mapping[str, npt.NDArray[Any]], isa: str | None = None) -> None: ...

class SileroDetector(Detector):
    network: SileroNetwork
    def __init__(self, network: SileroNetwork, channels: int = 1) -> None: ...
