"""The judge: batches, order, bounds, and every fault of a detector."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from voxgate.vad.turns import TurnDetector, TurnJudge, TurnQuestion

RATE = 16_000
WAIT_S = 30


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(test(**arguments))

    return run


class Scripted(TurnDetector):
    """Answers what `answer` returns; each call waits for `go`."""

    window_s = 0.5

    def __init__(self, answer: Callable[[list[TurnQuestion]], Any] = lambda questions: [0.5] * len(questions)) -> None:
        self.answer = answer
        self.batches: list[list[TurnQuestion]] = []
        self.threads: set[str] = set()
        self.began = threading.Semaphore(0)
        self.go = threading.Event()

    def judge(self, questions: Any) -> Any:
        self.batches.append(list(questions))
        self.threads.add(threading.current_thread().name)
        self.began.release()
        assert self.go.wait(WAIT_S)
        return self.answer(list(questions))


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def made() -> Iterator[Callable[..., tuple[TurnJudge, Scripted]]]:
    judges: list[tuple[TurnJudge, Scripted]] = []

    def make(detector: Scripted | None = None, rate: int = RATE, **options: Any) -> tuple[TurnJudge, Scripted]:
        detector = detector or Scripted()
        judge = TurnJudge(detector, rate, **{"max_batch_size": 3, "max_questions": 4, "deadline_s": 1.0, **options})
        judge.start(asyncio.get_running_loop())
        judges.append((judge, detector))
        return judge, detector

    yield make
    for judge, detector in judges:
        detector.go.set()
        assert judge.stop(WAIT_S)


def audio(n_samples: int = 160) -> np.ndarray:
    return np.arange(n_samples, dtype=np.float32)


def ask(judge: TurnJudge, samples: np.ndarray | None = None, text: str | None = None) -> asyncio.Future[float | None]:
    answer: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
    assert judge.ask(audio() if samples is None else samples, text, answer.set_result) is not None
    return answer


async def began(detector: Scripted) -> None:
    assert await asyncio.to_thread(detector.began.acquire, timeout=WAIT_S)


@on_a_loop
async def test_questions_that_wait_go_together(made):
    judge, detector = made(Scripted(lambda questions: [float(question.text or 0) for question in questions]))
    first = ask(judge, text="0.1")
    await began(detector)
    later = [ask(judge, text=f"0.{k}") for k in range(2, 6)]
    detector.go.set()
    assert await asyncio.gather(first, *later) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [len(batch) for batch in detector.batches] == [1, 3, 1]
    assert detector.threads == {"voxgate-turn"}


@on_a_loop
async def test_a_question_has_the_last_audio(made):
    judge, detector = made()
    detector.go.set()
    await ask(judge, audio(10_000))
    (question,) = detector.batches[0]
    assert question.audio.tolist() == list(range(2000, 10_000))
    assert question.text is None


@on_a_loop
async def test_audio_is_resampled_to_the_rate_of_the_detector(made):
    judge, detector = made(rate=8000)
    detector.go.set()
    tone = np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000).astype(np.float32)
    await ask(judge, tone)
    heard = detector.batches[0][0].audio
    expected = np.sin(np.arange(8000, 16_000) * 2 * np.pi * 440 / 16_000)
    assert (heard.dtype, heard.shape) == (np.float32, (8000,))
    np.testing.assert_allclose(heard[:-200], expected[:-200], atol=1e-3)


@on_a_loop
async def test_too_many_questions_are_refused(made):
    judge, detector = made()
    first = ask(judge)
    await began(detector)
    later = [ask(judge) for _ in range(4)]
    assert judge.ask(audio(), None, lambda _: None) is None
    detector.go.set()
    assert await asyncio.gather(first, *later) == [0.5] * 5


@on_a_loop
async def test_a_detector_that_hangs_gets_no_questions(made):
    clock = Clock()
    judge, detector = made(clock=clock)
    first = ask(judge)
    await began(detector)
    clock.now_s = 1.0
    second = ask(judge)
    clock.now_s = 1.01
    assert judge.ask(audio(), None, lambda _: None) is None
    detector.go.set()
    assert await asyncio.gather(first, second) == [0.5, 0.5]
    await ask(judge)


@on_a_loop
async def test_nobody_hears_of_a_cancelled_question(made):
    judge, detector = made()
    heard: list[float | None] = []
    running = judge.ask(audio(), None, heard.append)
    await began(detector)
    waiting = [judge.ask(audio(), None, heard.append) for _ in range(2)]
    last = ask(judge)
    for asked in (running, *waiting):
        judge.cancel(asked)
    detector.go.set()
    assert await last == 0.5
    assert heard == []
    assert [len(batch) for batch in detector.batches] == [1, 1]


@on_a_loop
async def test_the_audio_of_an_answered_question_is_not_kept(made):
    judge, detector = made()
    detector.go.set()
    samples, gone = audio(), threading.Event()
    weakref.finalize(samples, gone.set)
    await ask(judge, samples)
    detector.batches.clear()
    del samples
    assert await asyncio.to_thread(gone.wait, 10)


def fail(questions: Any) -> Any:
    raise OSError("no such network")


def leave(questions: Any) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("answer", "expected", "logged"),
    [
        (fail, [None, None], "OSError: no such network"),
        (leave, [None, None], "SystemExit: 3"),
        (lambda questions: [0.5], [None, None], "expected 2 probabilities, got an array of shape (1,)"),
        (lambda questions: np.full((2, 1), 0.5), [None, None], "got an array of shape (2, 1)"),
        (lambda questions: None, [None, None], "Error"),
        (lambda questions: ["a", "b"], [None, None], "ValueError"),
        (lambda questions: [0.25, float("nan")], [0.25, None], "expected probabilities 0..1, got nan"),
        (lambda questions: [1.5, 0.75], [None, 0.75], "expected probabilities 0..1, got 1.5"),
    ],
)
@on_a_loop
async def test_faults(made, caplog, answer, expected, logged):
    judge, detector = made()
    first = ask(judge)
    await began(detector)
    with caplog.at_level(logging.ERROR):
        detector.answer = lambda questions: [0.5] if len(questions) == 1 else answer(questions)
        pair = [ask(judge), ask(judge)]
        detector.go.set()
        assert await asyncio.gather(first, *pair) == [0.5, *expected]
        assert await asyncio.gather(ask(judge)) == [0.5]  # It goes on.
    (record,) = caplog.records
    assert record.name == "voxgate.turn"
    assert logged in record.getMessage()


@on_a_loop
async def test_faults_are_logged_once_in_a_while(made, caplog):
    judge, detector = made(Scripted(fail))
    detector.go.set()
    for _ in range(5):
        assert await ask(judge) is None
    assert len(caplog.records) == 1


@on_a_loop
async def test_a_judge_that_has_stopped_takes_nothing(made):
    judge, detector = made()
    first = ask(judge)
    await began(detector)
    assert not await asyncio.to_thread(judge.stop, 0)
    assert judge.ask(audio(), None, lambda _: None) is None
    detector.go.set()
    assert await first == 0.5
