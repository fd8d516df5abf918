"""Voice-activity detection: its settings, the detectors, and functions for whole recordings.

    >>> from voxgate import vad
    >>> vad.segments(samples, 44_100)                      # doctest: +SKIP
    [(0.1, 3.11), (3.3, 5.9)]

Detection runs at the detector's rate (16 kHz for the built-in ones). Several threads may call the functions at once,
and share the factory that :func:`load_detector` returns; a detector has one caller at a time.
"""

from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import DETECTORS, DetectorFactory, load_detector
from voxgate.vad.offline import segments, segments_of_channels, speech_probabilities

__all__ = [
    "DETECTORS",
    "DetectorFactory",
    "VadConfig",
    "load_detector",
    "segments",
    "segments_of_channels",
    "speech_probabilities",
]
