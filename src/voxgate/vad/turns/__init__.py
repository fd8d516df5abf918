"""Turn detectors: in a pause of speech, they say how probable it is that the speaker has finished.

:mod:`.base` has the class to derive from, :mod:`.judge` calls a detector for all streams, on a thread of its own.
"""

from voxgate.vad.turns.advice import why_idle
from voxgate.vad.turns.base import TurnDetector, TurnQuestion
from voxgate.vad.turns.config import TurnConfig
from voxgate.vad.turns.judge import TurnJudge
from voxgate.vad.turns.loader import load_turn_detector, public_name

__all__ = ["TurnConfig", "TurnDetector", "TurnJudge", "TurnQuestion", "load_turn_detector", "public_name", "why_idle"]
