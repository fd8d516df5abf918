"""A judge of turns that answers when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["Judge"]


class Judge:
    """In place of a TurnJudge."""

    window_s = 2.0
    deadline_s = 0.3

    def __init__(self, needs_text: bool = False) -> None:
        self.needs_text = needs_text
        self.questions: list[Any] = []
        """Those that are not answered: `audio`, `text`."""
        self.n_asked = 0
        self.n_cancelled = 0
        self.has_room = True

    def ask(self, audio: np.ndarray, text: str | None, on_answer: Callable[[float | None], None]) -> Any:
        if not self.has_room:
            return None
        self.n_asked += 1
        self.questions.append(SimpleNamespace(audio=audio, text=text, on_answer=on_answer))
        return self.questions[-1]

    def cancel(self, asked: Any) -> None:
        self.n_cancelled += 1
        self.questions.remove(asked)

    def answer(self, probability: float | None, index: int = 0) -> None:
        self.questions.pop(index).on_answer(probability)
