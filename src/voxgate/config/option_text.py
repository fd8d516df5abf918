"""An option of the model given as text, in the environment or by a flag."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["FLOAT", "INTEGER", "OptionText"]

#: Integers and numbers as TOML writes them.
INTEGER: Final = re.compile(r"[+-]?[0-9](_?[0-9])*")
FLOAT: Final = re.compile(r"[+-]?([0-9](_?[0-9])*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MOST_DIGITS: Final = 64
_LEADING_ZERO: Final = re.compile(r"[+-]?0[0-9_]")


class OptionText(str):
    """Text whose type depends on the model's constructor; models/options.py converts it. Only the loader of the
    settings makes one, so that a string of a file stays a string.
    """

    __slots__ = ()

    @property
    def guess(self) -> Any:
        """The value when the constructor gives no type: true, false, an integer, a number, a JSON list or object, or
        else the text itself. ``007`` is text.
        """
        text = str(self)
        if text in ("true", "false"):
            return text == "true"
        if INTEGER.fullmatch(text) and len(text) < _MOST_DIGITS and not _LEADING_ZERO.match(text):
            return int(text)
        if FLOAT.fullmatch(text) and not INTEGER.fullmatch(text):
            return float(text)
        if text.startswith(("[", "{")):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text
        return text
