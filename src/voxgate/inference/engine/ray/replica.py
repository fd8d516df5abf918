"""One copy of the model on the cluster. Ray Serve makes its objects (:mod:`.app`); nothing here imports Ray."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
import numpy as np

from voxgate.inference.engine.base import BatchLimits, State
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.invoker import Invoker
from voxgate.inference.engine.processes.answers import answer_batch, answer_step, describe
from voxgate.inference.engine.processes.channel import plain
from voxgate.inference.engine.processes.messages import Answer, Partial
from voxgate.inference.engine.processes.outcomes import encode_outcome
from voxgate.inference.engine.ray.messages import Facts, PlacedAnswer, ReplicaCall, StateRef
from voxgate.inference.engine.trial import prepare
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.blocking import BlockingModel
from voxgate.models.loader import load_model
from voxgate.models.session_options import SessionOptions
from voxgate.protocol.output import Output
from voxgate.runtime.loop_thread import LoopThread

__all__ = ["Replica"]

logger = logging.getLogger("voxgate.inference.engine")

_STATE_IDLE_S = 900.0
"""A state without a call for so long is dropped: its server is gone."""


class Replica:
    """Runs calls on threads, at most `calls` at once, or as many as the model's own `threads`. All methods belong to
    the thread of the replica's event loop.
    """

    def __init__(
        self,
        spec: str,
        options: Mapping[str, Any] | None = None,
        calls: int = 2,
        hang_timeout_s: float = 120.0,
        start_anyway: bool = False,
        tag: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Loads the model and warms it up. `spec`, `options`: as for `load_model`. `hang_timeout_s`: a call that runs
        for longer makes the replica unhealthy. `tag`: its id; None: as Ray Serve gave it. Raises ConfigError.
        """
        self._tag = _own_tag() if tag is None else tag
        self._clock = clock
        self._hang_timeout_s = hang_timeout_s
        model = load_model(spec, options)
        self._loop_thread: LoopThread | None = None
        if model.asynchronous:
            thread = self._loop_thread = LoopThread("voxgate-infer-loop", "engine")
            model = BlockingModel(model, lambda coro: thread.run(coro, "voxgate-infer-once"))
        self._model: Model = model
        self._session_options = SessionOptions(model)
        failures = FailureLog(logger)
        limits = BatchLimits(2 if model.batches else 1)
        text = prepare(model, failures, limits, lambda: False, start_anyway)
        loaded = describe(model, self._session_options)
        if loaded.gives_text is None:
            loaded = msgspec.structs.replace(loaded, gives_text=text)
        self._facts = Facts(loaded, calls)
        self._invoker = Invoker(model, failures)
        self._threads = ThreadPoolExecutor(min(calls, model.threads or calls), "voxgate-infer")
        self._running: dict[_ReplicaInterims, float] = {}
        self._states: dict[tuple[str, int], _KeptState] = {}
        self._encoder = msgspec.msgpack.Encoder(enc_hook=plain)
        self._decoder = msgspec.msgpack.Decoder(ReplicaCall)

    # --- called by servers ---

    async def describe(self) -> bytes:
        """The Facts."""
        return self._encoder.encode(self._facts)

    async def ping(self) -> None:
        """Returns when the replica is free to answer."""

    async def run(self, call: bytes, audio: np.ndarray[Any, Any]) -> bytes:
        """A ReplicaCall and its audio, float32; returns a PlacedAnswer."""
        interims = _ReplicaInterims()
        try:
            return self._encoder.encode(await asyncio.wrap_future(self._begin(call, audio, interims)))
        finally:
            interims.is_needed = False  # When the call was cancelled, the model goes on until it notices.

    async def stream(self, call: bytes, audio: np.ndarray[Any, Any]) -> AsyncIterator[bytes]:
        """As `run`; before the PlacedAnswer, it yields a Partial for each interim result."""
        partials: asyncio.Queue[Partial | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        interims = _ReplicaInterims(lambda found: loop.call_soon_threadsafe(partials.put_nowait, found))
        try:
            running = self._begin(call, audio, interims)
            running.add_done_callback(lambda _: interims.put(None))
            while (found := await partials.get()) is not None:
                yield self._encoder.encode(found)
            yield self._encoder.encode(await asyncio.wrap_future(running))
        finally:
            interims.is_needed = False

    async def forget(self, server: str, replica: str, numbers: list[int]) -> None:
        """Drops states of a server that are kept here."""
        if replica == self._tag:
            for number in numbers:
                self._states.pop((server, number), None)

    # --- called by Ray Serve ---

    async def check_health(self) -> None:
        """Raises RuntimeError while a call hangs: Serve replaces the replica."""
        now_s = self._clock()
        for key in [key for key, kept in self._states.items() if now_s - kept.used_s > _STATE_IDLE_S]:
            del self._states[key]
        longest_s = max((now_s - since_s for since_s in list(self._running.values())), default=0.0)
        if longest_s > self._hang_timeout_s:
            raise RuntimeError(f"a call of model {self._model.name!r} has run for {longest_s:.0f} s")

    def __del__(self) -> None:
        if hasattr(self, "_invoker"):  # Otherwise the constructor raised.
            self._invoker.close()

    # --- a call ---

    def _begin(self, encoded: bytes, audio: np.ndarray[Any, Any], interims: _ReplicaInterims) -> Future[PlacedAnswer]:
        call = self._decoder.decode(encoded)
        if call.sample_rate != self._model.sample_rate:
            return _done(PlacedAnswer(Answer([], False), self._tag, bad_rate=self._model.sample_rate))
        state: State | None = None
        if call.state is not None:
            state = self._state_of(call.state)
            if state is None:
                return _done(PlacedAnswer(Answer([], False), self._tag, is_lost=True))
        return self._threads.submit(partial(self._run, call, audio, state, interims))

    def _state_of(self, ref: StateRef) -> State | None:
        """None: it is kept elsewhere, or was."""
        key = ref.server, ref.number
        if not ref.replica:
            self._states[key] = _KeptState()
        kept = self._states.get(key) if ref.replica in ("", self._tag) else None
        if kept is None:
            return None
        kept.used_s = self._clock()
        return kept.state

    def _run(
        self, call: ReplicaCall, audio: np.ndarray[Any, Any], state: State | None, interims: _ReplicaInterims
    ) -> PlacedAnswer:
        """On a thread of the pool."""
        self._running[interims] = self._clock()
        try:
            # The audio is in memory of Ray, which is read-only; the model may change its own.
            rows: Samples = np.array(audio, np.float32).reshape(len(call.lengths), max(call.lengths))
            batch = Batch(rows, np.array(call.lengths, np.int64))
            if state is None or call.state is None:
                answer = answer_batch(self._invoker, batch, call.requests, self._session_options, interims)
            else:
                answer = answer_step(
                    self._invoker, call.state.method, batch[0], state, call.requests[0], self._session_options
                )
            return PlacedAnswer(answer, self._tag)
        finally:
            del self._running[interims]


class _ReplicaInterims:
    """Of one call (`Interims`)."""

    def __init__(self, put: Callable[[Partial | None], object] | None = None) -> None:
        self.is_needed = True
        self.is_wanted = put is not None
        self._put = put

    def put(self, found: Partial | None) -> None:
        assert self._put is not None
        self._put(found)

    def send(self, output: Output) -> None:
        self.put(Partial(encode_outcome(output)))


class _KeptState:
    __slots__ = ("state", "used_s")

    def __init__(self) -> None:
        self.state = State()
        self.used_s = 0.0


def _done(answer: PlacedAnswer) -> Future[PlacedAnswer]:
    future: Future[PlacedAnswer] = Future()
    future.set_result(answer)
    return future


def _own_tag() -> str:
    from ray import serve

    tag: str = serve.get_replica_context().replica_tag
    return tag
