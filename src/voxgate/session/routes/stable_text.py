"""The part of an utterance's text that has settled."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Final

__all__ = ["StableText"]

# Scripts that put no spaces between words: Thai, Lao, Myanmar, Khmer, and those of Chinese and Japanese.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
)
_WORD: Final = re.compile(rf" ?(?:[{_UNSPACED}\U00020000-\U0003ffff]|[^ {_UNSPACED}\U00020000-\U0003ffff]+)")


class StableText:
    """Follows the interims of one utterance.

    Stable are the words on which two interims in a row agree from the beginning on, less the last of them: that word
    may be half of one, or be about to lose its full stop. What is stable only grows; an interim that contradicts it
    leaves it as it is. Words are compared as they are written. They are what stands between spaces, and in scripts
    without spaces single characters.
    """

    __slots__ = ("_before", "_stable")

    def __init__(self) -> None:
        self._before: list[str] = []  # the words of the last interim
        self._stable: list[str] = []

    def update(self, text: str) -> str:
        """Takes the text of the next interim, and returns the stable text: words joined by single spaces."""
        words = _words(text)
        both = zip(words, self._before, strict=False)
        n_sure = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both)) - 1
        n_stable = len(self._stable)
        if n_sure > n_stable and words[:n_stable] == self._stable:
            self._stable = words[:n_sure]
        self._before = words
        return "".join(self._stable)


def _words(text: str) -> list[str]:
    """The words, each with the space before it, if there is one: joined, they are the text with single spaces."""
    return _WORD.findall(" ".join(text.split()))
