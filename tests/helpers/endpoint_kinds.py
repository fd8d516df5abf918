"""The kinds of endpointing events, as the textbook twin names them."""

from __future__ import annotations

from reference import endpoint_ref as ref
from voxgate._native.endpoint import INTERIM, QUESTION, RESUMED, SPECULATE, SPEECH_CUT, SPEECH_END, SPEECH_START

__all__ = ["KINDS"]

KINDS = {
    SPEECH_START: ref.START,
    SPEECH_END: ref.END,
    SPEECH_CUT: ref.CUT,
    INTERIM: ref.INTERIM,
    SPECULATE: ref.SPECULATE,
    RESUMED: ref.RESUMED,
    QUESTION: ref.QUESTION,
}
