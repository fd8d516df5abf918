"""An argument parser whose errors come from the verb that was typed, and suggest the word that was meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

__all__ = ["Parser"]

_WRONG_CHOICE: Final = re.compile(r"invalid choice: '([^']*)'")


class Parser(argparse.ArgumentParser):
    """The parser of the whole command line, and of each verb."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class, but an argument that no option takes is an error here: the verb prints its own usage."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error("unrecognized arguments: " + " ".join(unknown) + self._hint(unknown[0]))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Prints the usage and the error, and exits with 2."""
        if wrong := _WRONG_CHOICE.search(message):
            message += did_you_mean(wrong[1], self._verbs())
        super().error(message)

    def _verbs(self) -> Sequence[str]:
        return [
            str(choice)
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for choice in action.choices
        ]

    def _hint(self, argument: str) -> str:
        if not argument.startswith("-"):
            return ""
        options = [option for action in self._actions for option in action.option_strings]
        return did_you_mean(argument.partition("=")[0], options)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question that names the known word most like `word`; empty when none is."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
