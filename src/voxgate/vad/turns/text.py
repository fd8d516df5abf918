"""A turn detector that reads the punctuation of what the model has understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Final

from voxgate.vad.turns.base import TurnDetector, TurnQuestion

__all__ = ["TextTurns"]

FINISHED: Final = 0.95
UNKNOWN: Final = 0.3
UNFINISHED: Final = 0.05

_CLOSING: Final = " \t\r\n\"'”’»«›)]}】」』）］*_"
_ENDS: Final = ".!?。！？．｡؟۔।॥…"
_GOES_ON: Final = ("...", "…", "..", ",", ";", ":", "-", "–", "—", "，", "、", "；", "：", "،")
# A full stop after these may belong to the word. Latin languages; a single letter is an initial.
_ABBREVIATED = (
    "mr mrs ms dr prof st sr jr rev gen col capt lt sgt hon vs vol fig ed eds approx inc ltd corp dept"
    " e.g i.e etc cf al a.m p.m u.s u.k"
    " z.b d.h bzw usw ca nr u.a o.ä evtl ggf inkl zzgl"
    " mme mlle mm p.ex sra srta ud uds pág núm sig dott ing avv"
)
_ABBREVIATIONS: Final = frozenset(_ABBREVIATED.split())
_WORD: Final = re.compile(r"([^\s(\[{\"'“‘«]+)\.\Z")


class TextTurns(TurnDetector):
    """Sentence-final punctuation ends a turn; a comma, a dash or an ellipsis says that more will come. Text without
    either, and a full stop that may belong to an abbreviation, leave it open: a model may know no punctuation.
    """

    needs_text: ClassVar[bool] = True
    window_s: ClassVar[float] = 0.1  # it reads only the text

    def judge(self, questions: Sequence[TurnQuestion]) -> Sequence[float]:
        return [_probability(question.text or "") for question in questions]


def _probability(text: str) -> float:
    text = text.rstrip(_CLOSING)
    if text.endswith(_GOES_ON):
        return UNFINISHED
    if not text or text[-1] not in _ENDS:
        return UNKNOWN
    word = _WORD.search(text)
    if word is not None and (word[1].lower() in _ABBREVIATIONS or (len(word[1]) == 1 and word[1].isupper())):
        return UNKNOWN
    return FINISHED
