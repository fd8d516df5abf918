"""Texts of a server or a model, made safe for a terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["printable"]

_TURNS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """`text` on one line: control characters, line ends and changes of the writing direction become spaces.

    Every text of a server or a model that is written, except as JSON, passes through this function.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS
