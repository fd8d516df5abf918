"""A judge of turns that answers when the test says so, and a detector for servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from voxgate import TurnDetector, TurnQuestion

__all__ = ["Judge", "LongEnough", "Slow"]


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


class LongEnough(TurnDetector):
    """A turn ends after at least a second of segment. Keeps what it was asked."""

    asked: ClassVar[list[int]] = []

    def judge(self, questions: Sequence[TurnQuestion]) -> list[float]:
        self.asked += [len(question.audio) for question in questions]
        return [0.75 if len(question.audio) >= self.sample_rate else 0.0 for question in questions]


class Slow(TurnDetector):
    """Every turn is over, but it says so only when the test lets it."""

    go: ClassVar[threading.Event] = threading.Event()

    def judge(self, questions: Sequence[TurnQuestion]) -> list[float]:
        assert self.go.wait(30)
        return [1.0] * len(questions)
