"""The class to derive a turn detector from, and what it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

__all__ = ["TurnDetector", "TurnQuestion"]


@dataclass(frozen=True, slots=True, eq=False)
class TurnQuestion:
    """A pause in the speech of one channel."""

    audio: npt.NDArray[np.float32]
    """The end of the open segment, with the silence of the pause: float32, shape (samples,), -1..1, at the detector's
    ``sample_rate``; at least one sample, at most ``window_s`` of them, and fewer when the segment is shorter.
    Nobody else refers to it."""
    text: str | None
    """What the model has understood of the segment: of exactly its audio up to the pause, or of an earlier interim;
    None: nothing yet, or its results carry no text."""


class TurnDetector:
    """Decides whether a speaker has finished or only pauses. ``turn.detector=pkg.module:Name`` serves a subclass.

    A server process makes one object, without arguments, before it serves. It calls `judge` on one thread of its own,
    one call at a time, never on the event loop; work that takes long should release the GIL. Answers that come after
    ``turn.deadline_ms`` are not used.
    """

    sample_rate: ClassVar[int] = 16_000
    """Of the audio in questions, in Hz: 4000..192000. It is resampled when the voice-activity detector has another."""
    window_s: ClassVar[float] = 8.0
    """The most audio that a question has, in seconds: above 0, at most 60."""
    needs_text: ClassVar[bool] = False
    """A question without text is not asked. It waits for the text of its audio as long as the deadline allows."""

    def judge(self, questions: Sequence[TurnQuestion]) -> Sequence[float] | npt.NDArray[np.floating]:
        """The probability that the speaker has finished, 0..1, for each of the questions, in their order.

        ``questions``: at least one, at most ``turn.max_batch_size``, of any streams. An exception, another number of
        answers, or one that is no number in 0..1 counts as no answer: then silence decides. For an exception or a wrong
        number of answers that holds for all of the questions.
        """
        raise NotImplementedError
