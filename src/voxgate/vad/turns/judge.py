"""Asks a turn detector for all streams of a server process: in batches, on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from voxgate._native.resample import Resampler
from voxgate.runtime.tasks import spawn_thread
from voxgate.runtime.throttle import Throttle, and_more
from voxgate.vad.turns.base import TurnDetector, TurnQuestion

__all__ = ["Asked", "TurnJudge"]

QUIET_S = 60.0

Samples = npt.NDArray[np.float32]

logger = logging.getLogger("voxgate.turn")


class Asked:
    """A question that waits for the detector, or is in it."""

    __slots__ = ("audio", "on_answer", "text")

    def __init__(self, audio: Samples, text: str | None, on_answer: Callable[[float | None], None]) -> None:
        self.audio = audio
        self.text = text
        self.on_answer: Callable[[float | None], None] | None = on_answer
        """None: nobody waits for the answer any more."""


class TurnJudge:
    """One per server process. `ask`, `cancel` and the callbacks belong to the event loop's thread.

    Questions wait until the detector has answered those before them, and then go to it together. A detector whose call
    lasts longer than the deadline gets no further questions until it returns.
    """

    def __init__(
        self,
        detector: TurnDetector,
        sample_rate: int,
        *,
        max_batch_size: int,
        max_questions: int,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sample_rate`: Hz, of the audio that `ask` gets. `max_questions`: that may wait."""
        self.window_s = detector.window_s
        self.needs_text = detector.needs_text
        self.deadline_s = deadline_s
        self._detector = detector
        self._rate = sample_rate
        self._max_batch_size = max_batch_size
        self._max_questions = max_questions
        self._clock = clock
        self._questions: deque[Asked] = deque()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._began_s: float | None = None  # of the call that runs
        self._throttle = Throttle(QUIET_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None  # noqa: TID251 -- the type alone

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the thread."""
        self._loop = loop
        self._thread = spawn_thread(self._run, "voxgate-turn", daemon=True, subsystem="turn")

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread; no answer comes any more. Blocks for `timeout_s` at most. False: the detector still runs."""
        with self._changed:
            self._is_stopped = True
            self._questions.clear()
            self._changed.notify()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def ask(self, audio: Samples, text: str | None, on_answer: Callable[[float | None], None]) -> Asked | None:
        """`audio`: float32, shape (samples,), which nobody changes. `on_answer` is called once, later: with the
        probability, or None when there is no valid one. Returns None, and asks nothing, when the detector hangs, or
        too many questions wait.
        """
        asked = Asked(audio, text, on_answer)
        with self._changed:
            began_s = self._began_s
            is_hung = began_s is not None and self._clock() - began_s > self.deadline_s
            if self._is_stopped or is_hung or len(self._questions) >= self._max_questions:
                return None
            self._questions.append(asked)
            self._changed.notify()
        return asked

    def cancel(self, asked: Asked) -> None:
        """`on_answer` is not called any more. The detector may get the question all the same."""
        asked.on_answer = None
        with self._changed:
            if asked in self._questions:
                self._questions.remove(asked)

    # The thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._began_s = None
                self._changed.wait_for(lambda: self._questions or self._is_stopped)
                if self._is_stopped:
                    return
                batch = [self._questions.popleft() for _ in range(min(len(self._questions), self._max_batch_size))]
                self._began_s = self._clock()
            answers = self._answers(batch)
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(partial(_deliver, batch, answers))
            except RuntimeError:
                return  # the loop is closed
            del batch, answers  # The next question may come much later.

    def _answers(self, batch: Sequence[Asked]) -> list[float | None]:
        try:
            values = np.asarray(self._detector.judge([self._question(asked) for asked in batch]), np.float64)
            if values.shape != (len(batch),):
                raise ValueError(f"expected {len(batch)} probabilities, got an array of shape {values.shape}")
        except BaseException as error:  # of code that is not ours: SystemExit would end the thread
            self._log(f"{type(error).__name__}: {error}", error)
            return [None] * len(batch)
        answers = [value if 0 <= value <= 1 else None for value in values.tolist()]
        if None in answers:
            self._log(f"expected probabilities 0..1, got {values.tolist()[answers.index(None)]}")
        return answers

    def _question(self, asked: Asked) -> TurnQuestion:
        audio, rate = asked.audio, self._detector.sample_rate
        if rate != self._rate:
            resampler = Resampler(self._rate, rate)
            audio = np.concatenate([resampler.push(audio[np.newaxis]), resampler.finish()], axis=1)[0]
        return TurnQuestion(audio[-max(1, int(self.window_s * rate)) :], asked.text)

    def _log(self, problem: str, error: BaseException | None = None) -> None:
        n_left_out = self._throttle.admit()
        if n_left_out is not None:
            logger.error(
                "the turn detector failed, silence decides: %s%s", problem, and_more(n_left_out), exc_info=error
            )


def _deliver(batch: Sequence[Asked], answers: Sequence[float | None]) -> None:
    for asked, answer in zip(batch, answers, strict=True):
        on_answer, asked.on_answer = asked.on_answer, None
        if on_answer is not None:
            on_answer(answer)
