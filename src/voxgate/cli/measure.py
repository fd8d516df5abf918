"""`measure` runs a model on the bundled recordings, as the server would, and reports how it behaves.

Every figure is a ratio of two things that ran in turn within the same second or so, and a median over several turns, so
that anything else that runs on the machine affects both sides.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxgate import recordings
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.cli.behaviour import Answer, BatchGain, Behaviour, Speed
from voxgate.cli.concurrency import N_ROUNDS, measure_gil, measure_two_at_once, timed
from voxgate.errors import InvalidStart
from voxgate.models import Batch, Model
from voxgate.models.adapter import ModelAdapter
from voxgate.models.blocking import BlockingModel
from voxgate.models.loader import explained
from voxgate.models.request import Request
from voxgate.models.result import BadResult, check_batch, output_of
from voxgate.models.session_options import SessionOptions
from voxgate.runtime.loop_thread import LoopThread

__all__ = ["CheckFailed", "Piece", "measure", "opened", "pieces"]

logger = logging.getLogger(__name__)

Samples = npt.NDArray[np.float32]

_PADDING_S = 0.6
"""The default padding before an utterance."""
_STEP_S = 0.1
_BATCH_SIZES = (4, 8)


class CheckFailed(Exception):
    """A call that the server would make failed. The text names the call; the cause is the model's exception, if it
    raised one.
    """


@dataclass(frozen=True)
class Piece:
    """An utterance as the segmented route passes it to the model."""

    audio: Samples
    """float32, shape (samples,), at the model's rate."""
    text: str


Result = Mapping[str, Any] | None
Call = Callable[[Piece], Result]


def pieces(sample_rate: int) -> list[Piece]:
    """The utterances of the bundled recording at `sample_rate` Hz."""
    planes, rate = read_audio(recordings.path("demo"))
    found = []
    for spoken in recordings.truth("demo")[0]:
        start, end = (max(0, round(time_s * rate)) for time_s in (spoken.start_s - _PADDING_S, spoken.end_s))
        audio = planes[0, start:end].copy()
        found.append(Piece(resample(audio, rate, sample_rate) if rate != sample_rate else audio, spoken.text))
    return found


@contextlib.contextmanager
def opened(model: Model) -> Iterator[Model]:
    """A model that can be called from any thread; closes `model` at the end. An asynchronous one gets an event loop."""
    if not model.asynchronous:
        try:
            yield model
        finally:
            model.close()
        return
    thread = LoopThread("voxgate-check-loop", "check")
    plain = BlockingModel(model, lambda coro: thread.run(coro, "voxgate-check-call"))
    try:
        yield plain
    finally:
        plain.close()
        thread.stop()


def measure(model: Model, seconds: float = 1.0) -> Behaviour:
    """Warms the model up and measures it. Each of four measurements takes about `seconds`, or a few calls if those take
    longer. Blocking.

    Raises CheckFailed when a call fails or returns a result that cannot be sent to a client.
    """
    found = pieces(model.sample_rate)
    request = _request(model)
    call = _caller(model, request)
    calls = [functools.partial(call, piece) for piece in found]
    warm_up_s = timed(lambda: _guarded("warm_up", model.warm_up))
    first_call_s = timed(calls[0])
    answers = [Answer(piece.text, _plain(call(piece))) for piece in found]
    speed = _speed(call, found, model.sample_rate, seconds)
    gil = measure_gil(calls, seconds)
    two_at_once, two_at_best = measure_two_at_once(calls, seconds) if model.threads != 1 else (None, None)
    takes_batches = model.stateless and model.batches
    return Behaviour(
        warm_up_s=warm_up_s,
        first_call_s=first_call_s,
        said=answers,
        speed=speed,
        gil=gil,
        batches=[_batch_gain(model, call, found, request, n, seconds) for n in _BATCH_SIZES] if takes_batches else (),
        two_at_once=two_at_once,
        two_at_best=two_at_best,
    )


def _request(model: Model) -> Request:
    """That of a client which chooses no options."""
    try:
        return Request(options=SessionOptions(model).parse(None), session_id="check", sample_rate=model.sample_rate)
    except InvalidStart as error:
        raise CheckFailed(f"cannot be called without options of a client: {error}") from None


def _caller(model: Model, request: Request) -> Call:
    """Passes a piece to the model as the server would: in one call, or in steps when the model is only stateful."""
    adapter = ModelAdapter(model)
    if model.stateless:
        return lambda piece: _guarded("infer", lambda: _last(adapter.infer(piece.audio.copy(), request)), piece)
    step_samples = max(1, round(_STEP_S * model.sample_rate))

    def steps(piece: Piece) -> Result:
        state = adapter.open(request)
        starts = range(0, len(piece.audio), step_samples)
        answers = [model.step(piece.audio[start : start + step_samples].copy(), state) for start in starts]
        answers.append(model.finish(state))
        results = [output for answer in answers if (output := output_of(answer)) is not None]
        return results[-1] if results else None

    return lambda piece: _guarded("step", lambda: steps(piece), piece)


def _last(answer: Any) -> Result:
    """The result of `infer`, which may be a generator."""
    if not inspect.isgenerator(answer):
        return output_of(answer)
    last = None
    while True:
        try:
            last = output_of(next(answer))
        except StopIteration as end:
            return last if end.value is None else output_of(end.value)


def _plain(result: Result) -> dict[str, Any] | None:
    return None if result is None else dict(result)


def _guarded(what: str, function: Callable[[], Any], piece: Piece | None = None) -> Any:
    where = f" on {piece.text!r}" if piece is not None else ""
    try:
        return function()
    except BadResult as error:
        raise CheckFailed(f"{what} failed{where}: {error}") from None
    except (Exception, SystemExit) as error:
        logger.debug("%s failed", what, exc_info=error)
        raise CheckFailed(f"{what} failed{where}: {explained(error)}") from error


def _speed(call: Call, found: Sequence[Piece], sample_rate: int, seconds: float) -> Speed:
    times_s: list[tuple[float, float]] = []
    until_s = time.perf_counter() + seconds
    while len(times_s) < len(found) or time.perf_counter() < until_s:
        piece = found[len(times_s) % len(found)]
        times_s.append((timed(functools.partial(call, piece)), len(piece.audio) / sample_rate))
    return Speed(
        calls=len(times_s),
        call_s=statistics.median(call_s for call_s, _ in times_s),
        audio_s=statistics.median(audio_s for _, audio_s in times_s),
        real_time_factor=statistics.median(call_s / audio_s for call_s, audio_s in times_s),
    )


def _batch_gain(
    model: Model, call: Call, found: Sequence[Piece], request: Request, size: int, seconds: float
) -> BatchGain:
    items = [found[i % len(found)] for i in range(size)]

    def infer_batch() -> None:
        answers = model.infer_batch(Batch.gather([item.audio for item in items], [request] * size))
        check_batch(answers, size)
        for answer in answers:
            output_of(answer)

    def one_batch() -> None:
        _guarded(f"infer_batch of {size}", infer_batch)

    singles_s: list[float] = []
    batches_s: list[float] = []
    until_s = time.perf_counter() + seconds / len(_BATCH_SIZES)
    while len(batches_s) < N_ROUNDS or time.perf_counter() < until_s:
        singles_s.append(timed(lambda: [call(item) for item in items]))
        batches_s.append(timed(one_batch))
    return BatchGain(size, statistics.median(one / all_ for one, all_ in zip(singles_s, batches_s, strict=True)))
