"""The words of a model's result, for wires that carry words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from msgspec import Struct

__all__ = ["TEXT_KEYS", "Transcript", "Word"]

TEXT_KEYS: Final = ("text", "transcript", "transcription", "sentence")
"""The keys of a result that hold its text; the first one that is a string counts."""

_WORD_KEYS: Final = ("word", "text")
_CONFIDENCE_KEYS: Final = ("confidence", "probability", "score")


class Word(Struct, frozen=True, gc=False):
    """One word of a result. ``start_s`` and ``end_s``: seconds since the start of the segment."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None
    """0..1; None: the model gives none."""
    speaker: str | None = None


class Transcript(Struct, frozen=True):
    """The text of a result and, if the model gives any, its words with their times."""

    text: str
    words: tuple[Word, ...] = ()

    @classmethod
    def of(cls, output: Mapping[str, Any]) -> Transcript | None:
        """The transcript of a model's result, which is plain data (as decoded from JSON). None: the result holds
        neither a text nor words.

        The text is the first string among `text`, `transcript`, `transcription` and `sentence`, otherwise the words
        joined with spaces. Words are the mappings in `words` that have `word` or `text`, `start` and `end`; others are
        left out.
        """
        listed = output.get("words")
        words = tuple(word for item in listed if (word := _word(item)) is not None) if _is_list(listed) else ()
        text = next((value for key in TEXT_KEYS if isinstance(value := output.get(key), str)), None)
        if text is None:
            if not words:
                return None
            text = " ".join(word.text.strip() for word in words)
        return cls(text, words)

    def timed_words(self, duration_s: float) -> Sequence[Word]:
        """The words with times. A result without words has its text spread over `duration_s` seconds, each word in
        proportion to its characters.
        """
        if self.words:
            return self.words
        parts = self.text.split()
        per_character_s = duration_s / max(1, sum(map(len, parts)))
        words, start_s = [], 0.0
        for part in parts:
            end_s = start_s + len(part) * per_character_s
            words.append(Word(part, start_s, end_s))
            start_s = end_s
        return words


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _word(item: object) -> Word | None:
    if not isinstance(item, Mapping):
        return None
    text = next((value for key in _WORD_KEYS if isinstance(value := item.get(key), str)), None)
    start_s, end_s = _number(item.get("start")), _number(item.get("end"))
    if text is None or start_s is None or end_s is None:
        return None
    confidence = next((value for key in _CONFIDENCE_KEYS if (value := _number(item.get(key))) is not None), None)
    speaker = item.get("speaker")
    return Word(text, start_s, end_s, confidence, None if speaker is None else str(speaker))


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]
