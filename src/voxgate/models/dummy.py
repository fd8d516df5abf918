"""A fake model with knobs, to test a server with a model that is slow or fails."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from voxgate.errors import InferenceError
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.ranges import check_number

__all__ = ["Dummy"]

_LONGEST_S = 3600.0


class Dummy(Model):
    """Sleeps as long as a model might compute, fails at given rates, and answers ``{"count": samples}``.

    A call takes ``duration * constant_factor + delay + jitter * uniform(-1, 1)`` seconds (never less than 0), where
    duration is the length of its audio; the very first call of the instance takes ``1 + warmup_penalty`` times that.
    Then, in this order, it

    - ends the process without a message with probability ``crash_rate``,
    - sleeps for ever with probability ``hang_rate``,
    - raises ``InferenceError("Unexpected inference failure")`` with probability ``failure_rate``,
    - raises a RuntimeError, which reaches the client as "Internal server error", with probability ``panic_rate``,
    - answers.

    With ``item_delay`` it batches: a call adds this delay for each of its items, uses the sum of their durations, and
    draws once. A batch that fails is retried item by item, with a draw for each.

    crash_rate and hang_rate are for worker processes; an engine in the server's process refuses to start a model with
    either above 0.
    """

    name = "dummy"
    threads = 64  # It sleeps: many more calls than CPUs can run.

    CRASH_STATUS = 70
    """Exit status of a process that ``crash_rate`` ended."""

    def __init__(
        self,
        *,
        delay: float = 0.5,
        constant_factor: float = 0.3,
        jitter: float = 0.2,
        failure_rate: float = 0.0,
        panic_rate: float = 0.01,
        warmup_penalty: float = 10.0,
        crash_rate: float = 0.0,
        hang_rate: float = 0.0,
        item_delay: float | None = None,
        seed: int | None = None,
    ) -> None:
        """Knobs: delay, jitter and item_delay in seconds, 0..3600 (item_delay None: it does not batch);
        constant_factor and warmup_penalty 0..1000; the rates are probabilities, 0..1.

        With `seed`, the outcome of a call depends only on its number (the first, the second ... of this instance).
        Raises ValueError naming the knob, the value and the range.
        """
        self.delay = check_number("delay", delay, 0, _LONGEST_S)
        self.constant_factor = check_number("constant_factor", constant_factor, 0, 1000.0)
        self.jitter = check_number("jitter", jitter, 0, _LONGEST_S)
        self.failure_rate = check_number("failure_rate", failure_rate, 0, 1.0)
        self.panic_rate = check_number("panic_rate", panic_rate, 0, 1.0)
        self.warmup_penalty = check_number("warmup_penalty", warmup_penalty, 0, 1000.0)
        self.crash_rate = check_number("crash_rate", crash_rate, 0, 1.0)
        self.hang_rate = check_number("hang_rate", hang_rate, 0, 1.0)
        self.item_delay = None if item_delay is None else check_number("item_delay", item_delay, 0, _LONGEST_S)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise ValueError(f"seed must be an integer or absent, not {seed!r}")
        deadly = [f"{knob} is {getattr(self, knob)}" for knob in ("crash_rate", "hang_rate") if getattr(self, knob) > 0]
        self.needs_process = " and ".join(deadly) or None
        self.sleep: Callable[[float], object] = time.sleep
        """Waits this many seconds; tests replace it."""
        self.exit: Callable[[int], object] = os._exit
        """Ends the process with this status; tests replace it."""
        self._seed = seed
        self._random = random.Random()
        self._lock = threading.Lock()
        self._n_calls = 0

    @property
    def batches(self) -> bool:
        return self.item_delay is not None

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        self._call(1, len(audio))
        return {"count": len(audio)}

    def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        self._call(len(batch), int(batch.lengths.sum()))
        return [{"count": int(length)} for length in batch.lengths]

    def _call(self, n_items: int, n_samples: int) -> None:
        with self._lock:
            call = self._n_calls
            self._n_calls += 1
        jitter, crash, hang, failure, panic = self._dice(call)
        duration_s = n_samples / self.sample_rate
        delay_s = duration_s * self.constant_factor + self.delay + self.jitter * (2.0 * jitter - 1.0)
        delay_s += n_items * (self.item_delay or 0.0)
        if call == 0:
            delay_s += delay_s * self.warmup_penalty
        self.sleep(max(0.0, delay_s))
        if crash < self.crash_rate:
            self.exit(self.CRASH_STATUS)
        if hang < self.hang_rate:
            self._hang()
        if failure < self.failure_rate:
            raise InferenceError("Unexpected inference failure")
        if panic < self.panic_rate:
            raise RuntimeError("Inference catastrophically failed")

    def _dice(self, call: int) -> tuple[float, float, float, float, float]:
        """Five random numbers, 0..1, for one call. All are drawn every time, so that one knob does not change the
        effect of the others.
        """
        dice = self._random if self._seed is None else random.Random(f"{self._seed}/{call}")
        return dice.random(), dice.random(), dice.random(), dice.random(), dice.random()

    def _hang(self) -> NoReturn:
        while True:
            self.sleep(_LONGEST_S)
