"""How many words a recogniser got wrong: the word error rate, and the words it counts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["WordErrors", "count_word_errors", "words_of"]

_APOSTROPHES = str.maketrans("’ʼ‘`´", "'''''")
_NO_WORD = re.compile(r"[^\w']+|_")
_WRITTEN_OUT = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "okay": "ok"}
"""Spellings that differ between writers and not in sound."""


class WordErrors(NamedTuple):
    """Words of the reference that were replaced or are missing, and words that were added to it."""

    substituted: int
    deleted: int
    inserted: int
    reference: int
    """Words of the reference."""

    @property
    def total(self) -> int:
        return self.substituted + self.deleted + self.inserted

    @property
    def rate(self) -> float:
        """Errors per word of the reference; may exceed 1. Without any word: 0 when there is no error, else infinity."""
        if self.reference == 0:
            return float("inf") if self.total else 0.0
        return self.total / self.reference

    def __add__(self, other: object) -> WordErrors:
        """Of both texts together."""
        if not isinstance(other, WordErrors):
            return NotImplemented
        return WordErrors(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def words_of(text: str) -> list[str]:
    """The words of `text` in the form in which they are compared: lower case, without punctuation and accents of
    writing (``ill-disposed`` is two words, ``don’t`` is one), common abbreviations written out (``Mr.``: ``mister``).
    """
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    found = (word.strip("'") for word in _NO_WORD.split(plain))
    return [_WRITTEN_OUT.get(word, word) for word in found if word]


def count_word_errors(reference: str | Sequence[str], found: str | Sequence[str]) -> WordErrors:
    """The fewest errors that turn `reference` into `found` (Levenshtein distance over words). Texts are split by
    :func:`words_of`; sequences are compared as they are.

    Among equally few errors the one with the most substitutions is counted.
    """
    said = words_of(reference) if isinstance(reference, str) else list(reference)
    heard = words_of(found) if isinstance(found, str) else list(found)
    # row[j]: errors, of them deletions and insertions, for the words so far against the first j of `heard`.
    row = [(j, 0, j) for j in range(len(heard) + 1)]
    for i, word in enumerate(said, 1):
        above = row
        row = [(i, i, 0)]
        for j, other in enumerate(heard, 1):
            errors, deleted, inserted = above[j - 1]
            best = (errors + (word != other), deleted, inserted)
            errors, deleted, inserted = above[j]
            best = min(best, (errors + 1, deleted + 1, inserted))
            errors, deleted, inserted = row[j - 1]
            best = min(best, (errors + 1, deleted, inserted + 1))
            row.append(best)
    errors, deleted, inserted = row[-1]
    return WordErrors(errors - deleted - inserted, deleted, inserted, len(said))
