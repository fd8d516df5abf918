from typing import Self, final

from .detector import Detector

@final
class EnergyDetector(Detector):
    def __new__(cls, channels: int = 1, sample_rate: int = 16000) -> Self: ...
    @property
    def floor_db(self) -> list[float]: ...
