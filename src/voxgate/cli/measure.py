"""What `voxgate models check` measures: how a model behaves on the bundled speech, and which settings follow from it.

Every figure is a ratio of two things that were done in turn within the same second or so, and a median over several
such turns, so that a machine which does something else besides moves both sides. What threads do to each other is
compared with what they do to each other beside a model that would be perfect: one that hashes, without the GIL.
"""

from __future__ import annotations

import hashlib
import logging
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxgate import recordings
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.models import Batch, Model
from voxgate.models.loader import explained
from voxgate.models.result import BadResult, check_batch, result_of
from voxgate.protocol.json_codec import check_output
from voxgate.runtime import tasks

__all__ = [
    "BatchGain",
    "Behaviour",
    "CheckFailed",
    "Gil",
    "Piece",
    "Said",
    "Setting",
    "Speed",
    "measure",
    "pieces",
    "suggest",
    "usable_cpus",
]

logger = logging.getLogger(__name__)

Samples = npt.NDArray[np.float32]

_PADDING_S = 0.6
"""What the VAD puts before an utterance by default."""
_STEP_S = 0.1
_BATCH_SIZES = (4, 8)
_ROUNDS = 3
_SHORTEST_ROUND_S = 0.1
_HASHED = bytes(4_000_000)


class CheckFailed(Exception):
    """The model failed at what the server would ask of it. The text says at what; the cause is the model's exception,
    if there was one.
    """


@dataclass(frozen=True)
class Piece:
    """An utterance as the segmented route would give it to the model."""

    audio: Samples
    text: str


@dataclass(frozen=True)
class Said:
    """What the model answered to a piece; None: it had nothing to say."""

    text: str
    answer: Mapping[str, Any] | None


@dataclass(frozen=True)
class Speed:
    """How long calls take: medians over `calls` of them, one at a time."""

    calls: int
    call_s: float
    audio_s: float
    real_time_factor: float


@dataclass(frozen=True)
class Gil:
    """What became of another Python thread while the model ran."""

    share: float
    """Its speed relative to that beside work without the GIL: 1 unharmed, 0 frozen."""
    longest_pause_s: float
    """How long it stood still at a stretch during a call; the median over the calls."""

    @property
    def verdict(self) -> str:
        """``releases`` it, ``shares`` it (Python code, or a library that keeps it for a part of the time) or ``holds``
        it.
        """
        if self.share < 0.35:  # plain Python code comes out at a half: the interpreter takes turns
            return "holds"
        return "shares" if self.share < 0.7 else "releases"


@dataclass(frozen=True)
class BatchGain:
    """`size` items in one call are `gain` times as fast as one after the other."""

    size: int
    gain: float


@dataclass(frozen=True)
class Behaviour:
    """All that was measured."""

    warm_up_s: float
    first_call_s: float
    said: Sequence[Said]
    speed: Speed
    gil: Gil
    batches: Sequence[BatchGain] = ()
    """Empty for a model that takes no batches."""
    two_at_once: float | None = None
    """Two calls at once are so many times as fast as one after the other; None: the model allows one at a time."""
    two_at_best: float | None = None
    """What this machine, with all that it did besides, gave to two threads of perfect work meanwhile."""


@dataclass(frozen=True)
class Setting:
    """A line for the configuration."""

    key: str
    value: str | int
    reason: str


def usable_cpus() -> int:
    """CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pieces(sample_rate: int) -> list[Piece]:
    """The utterances of the bundled speech at `sample_rate` Hz."""
    planes, rate = read_audio(recordings.path("demo"))
    found = []
    for said in recordings.truth("demo")[0]:
        start, end = (max(0, round(time_s * rate)) for time_s in (said.start_s - _PADDING_S, said.end_s))
        audio = planes[0, start:end].copy()
        found.append(Piece(resample(audio, rate, sample_rate) if rate != sample_rate else audio, said.text))
    return found


def measure(model: Model, seconds: float = 1.0) -> Behaviour:
    """Warms the model up and measures it; each of four measurements takes about `seconds`, or a few calls if those take
    longer. Raises CheckFailed when a call fails, or says something that no client could be told.
    """
    found = pieces(model.sample_rate)
    call = _caller(model)
    warm_up_s = _timed(lambda: _guarded("warm_up", model.warm_up))
    first_call_s = _timed(lambda: call(found[0]))
    said = [Said(piece.text, _sendable(piece, call(piece))) for piece in found]
    speed = _speed(call, found, model.sample_rate, seconds)
    gil = _gil(call, found, seconds)
    two_at_once, two_at_best = _two_at_once(call, found, seconds) if model.threads != 1 else (None, None)
    return Behaviour(
        warm_up_s=warm_up_s,
        first_call_s=first_call_s,
        said=said,
        speed=speed,
        gil=gil,
        batches=[_batch_gain(model, call, found, n, seconds) for n in _BATCH_SIZES] if _takes_batches(model) else (),
        two_at_once=two_at_once,
        two_at_best=two_at_best,
    )


def _takes_batches(model: Model) -> bool:
    return model.stateless and model.batches


Call = Callable[[Piece], Mapping[str, Any] | None]


def _caller(model: Model) -> Call:
    """How the server would let the model answer a piece, and take the answer: at once, or, when it only knows steps,
    step by step.
    """
    if model.stateless:
        return lambda piece: _guarded("infer", lambda: result_of(model.infer(piece.audio.copy())), piece)
    step_samples = max(1, round(_STEP_S * model.sample_rate))

    def steps(piece: Piece) -> Mapping[str, Any] | None:
        state = model.open()
        starts = range(0, len(piece.audio), step_samples)
        answers = [model.step(piece.audio[start : start + step_samples].copy(), state) for start in starts]
        answers.append(model.finish(state))
        results = [result_of(answer) for answer in answers if answer is not None]
        return results[-1] if results else None

    return lambda piece: _guarded("step", lambda: steps(piece), piece)


def _guarded(what: str, function: Callable[[], Any], piece: Piece | None = None) -> Any:
    where = f" on {piece.text!r}" if piece is not None else ""
    try:
        return function()
    except BadResult as error:
        raise CheckFailed(f"{what} failed{where}: {error}") from None
    except (Exception, SystemExit) as error:
        logger.debug("%s failed", what, exc_info=error)
        raise CheckFailed(f"{what} failed{where}: {explained(error)}") from error


def _sendable(piece: Piece, result: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    _guarded("sending the answer", lambda: check_output(result or {}), piece)
    return result


def _timed(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def _speed(call: Call, found: Sequence[Piece], sample_rate: int, seconds: float) -> Speed:
    times: list[tuple[float, float]] = []
    until = time.perf_counter() + seconds
    while len(times) < len(found) or time.perf_counter() < until:
        piece = found[len(times) % len(found)]
        times.append((_timed(lambda piece=piece: call(piece)), len(piece.audio) / sample_rate))  # type: ignore[misc]
    return Speed(
        calls=len(times),
        call_s=statistics.median(call_s for call_s, _ in times),
        audio_s=statistics.median(audio_s for _, audio_s in times),
        real_time_factor=statistics.median(call_s / audio_s for call_s, audio_s in times),
    )


# --- the GIL ---


def _spin(seconds: float, done: Sequence[object] = ()) -> tuple[float, float]:
    """Runs Python code until `done` holds something, at most for `seconds`; turns per second, and the longest pause
    between two.
    """
    begin = last = time.perf_counter()
    until = begin + seconds
    n = 0
    longest = 0.0
    while not done and last < until:
        now = time.perf_counter()
        if now - last > longest:
            longest = now - last
        last = now
        n += 1
    return n / max(last - begin, 1e-9), longest


def _gil(call: Call, found: Sequence[Piece], seconds: float) -> Gil:
    """Turns round and round beside a thread that hashes and beside one that calls the model, in turn."""
    shares: list[float] = []
    pauses: list[float] = []
    until = time.perf_counter() + seconds
    while len(shares) < _ROUNDS or time.perf_counter() < until:
        piece = found[len(shares) % len(found)]
        best, _ = _spin_beside(_hash)
        beside, pause_s = _spin_beside(lambda piece=piece: call(piece))  # type: ignore[misc]
        shares.append(min(1.0, beside / best))
        pauses.append(pause_s)
    return Gil(statistics.median(shares), statistics.median(pauses))


def _spin_beside(function: Callable[[], object]) -> tuple[float, float]:
    done: list[object] = []
    worker = _Worker(lambda: _repeat(function, _SHORTEST_ROUND_S), done)
    turns = _spin(3600.0, done)
    worker.join()
    return turns


def _hash() -> None:
    """Some milliseconds of work without the GIL."""
    hashlib.sha256(_HASHED)


def _repeat(function: Callable[[], object], seconds: float) -> None:
    """At least once, and for at least so long."""
    until = time.perf_counter() + seconds
    function()
    while time.perf_counter() < until:
        function()


class _Worker:
    """A thread that does one thing; `join` raises what that raised."""

    def __init__(self, function: Callable[[], object], done: list[object]) -> None:
        self._error: BaseException | None = None

        def run() -> None:
            try:
                function()
            except BaseException as error:
                self._error = error
            finally:
                done.append(self)

        self._thread = tasks.spawn_thread(run, "voxgate-check", daemon=True, subsystem="check")

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


# --- more than one at once ---


def _batch_gain(model: Model, call: Call, found: Sequence[Piece], size: int, seconds: float) -> BatchGain:
    items = [found[i % len(found)] for i in range(size)]

    def batch_results(items: Sequence[Piece]) -> list[Mapping[str, Any]]:
        answers = model.infer_batch(Batch.gather([item.audio for item in items]))
        check_batch(answers, size)
        return [result_of(answer) for answer in answers]

    def together() -> None:
        for item, result in zip(items, _guarded(f"infer_batch of {size}", lambda: batch_results(items)), strict=True):
            _sendable(item, result)

    singles: list[float] = []
    batches: list[float] = []
    until = time.perf_counter() + seconds / len(_BATCH_SIZES)
    while len(batches) < _ROUNDS or time.perf_counter() < until:
        singles.append(_timed(lambda: [call(item) for item in items]))
        batches.append(_timed(together))
    return BatchGain(size, statistics.median(one / all_ for one, all_ in zip(singles, batches, strict=True)))


def _two_at_once(call: Call, found: Sequence[Piece], seconds: float) -> tuple[float, float]:
    """The gain of the model, and that of hashing for as long."""

    def all_pieces() -> None:
        for piece in found:
            call(piece)

    model_round, hash_round = (_filling(all_pieces), _filling(_hash))
    gains: list[float] = []
    best: list[float] = []
    until = time.perf_counter() + seconds
    while len(gains) < _ROUNDS or time.perf_counter() < until:
        gains.append(_gain_of_two(model_round))
        best.append(_gain_of_two(hash_round))
    return statistics.median(gains), statistics.median(best)


def _filling(function: Callable[[], object]) -> Callable[[], None]:
    """`function` as often as it takes for a round that is long enough to be timed."""
    n = max(1, round(_SHORTEST_ROUND_S / max(_timed(function), 1e-6)))

    def repeated() -> None:
        for _ in range(n):
            function()

    return repeated


def _gain_of_two(function: Callable[[], None]) -> float:
    def two() -> None:
        done: list[object] = []
        workers = [_Worker(function, done) for _ in range(2)]
        for worker in workers:
            worker.join()

    return 2 * _timed(function) / _timed(two)


# --- what follows ---


def suggest(model: Model, behaviour: Behaviour, n_cpus: int | None = None) -> list[Setting]:
    """Settings that suit what was measured, each with its reason."""
    cpus = usable_cpus() if n_cpus is None else n_cpus
    return [*_isolation(model, behaviour, cpus), *_batch_size(behaviour)]


def _isolation(model: Model, behaviour: Behaviour, cpus: int) -> list[Setting]:
    gil = behaviour.gil
    if gil.verdict == "holds" or model.holds_gil:
        reason = "it holds the GIL: on threads the server would stand still during each call"
        if model.holds_gil:
            reason = "the model says that it holds the GIL, so this comes by itself"
        return [
            Setting("inference.isolation", "process", reason),
            Setting("inference.processes", 0, f"one for each CPU, here {cpus}"),
        ]
    if gil.verdict == "shares":
        reason = f"it leaves {gil.share:.0%} of the GIL to others: try 'process' when many streams are to be served"
    else:
        reason = "it leaves the GIL to the server while it computes"
    return [Setting("inference.isolation", "threads", reason), _threads(model, behaviour, cpus)]


def _threads(model: Model, behaviour: Behaviour, cpus: int) -> Setting:
    key, gain = "inference.threads", behaviour.two_at_once
    if gain is None:
        return Setting(key, 0, "the model allows one call at a time")
    wish = f"the model's own number, {model.threads}" if model.threads else f"one for each CPU, here {cpus}"
    if gain >= 1.2:
        return Setting(key, 0, f"{wish}: two calls at once are {gain:.2f}x as fast")
    if cpus > 1 and (behaviour.two_at_best or 0.0) < 1.5:
        return Setting(key, 0, f"{wish}; this machine is too busy to tell whether two calls at once are faster")
    why = "there is one CPU" if cpus == 1 else "two calls at once are no faster than one after the other"
    return Setting(key, 1, f"{why} ({gain:.2f}x)")


def _batch_size(behaviour: Behaviour) -> list[Setting]:
    if not behaviour.batches:
        return []
    best = max(behaviour.batches, key=lambda one: one.gain)
    if best.gain < 1.1:
        return [Setting("inference.max_batch_size", 1, f"a batch is no faster than single calls ({best.gain:.2f}x)")]
    largest = behaviour.batches[-1]
    if best is largest:
        reason = f"{best.size} together are {best.gain:.2f}x as fast as single calls; more may be faster still"
        return [Setting("inference.max_batch_size", 2 * best.size, reason)]
    reason = (
        f"{best.size} together are {best.gain:.2f}x as fast as single calls, {largest.size} only {largest.gain:.2f}x"
    )
    return [Setting("inference.max_batch_size", best.size, reason)]
