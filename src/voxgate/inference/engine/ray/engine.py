"""The engine of a model on a Ray cluster, which any number of servers share."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np

from voxgate._native.batch import Interrupt
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.attempts import call_timeout_s, isolate_retries, return_unrun
from voxgate.inference.engine.base import BatchLimits, EngineCounts, Job, JobOutcome, JobSource, Work
from voxgate.inference.engine.failures import FailureLog, log_left_behind
from voxgate.inference.engine.invoker import CANCELLED
from voxgate.inference.engine.processes.channel import plain
from voxgate.inference.engine.processes.messages import Loaded, Partial
from voxgate.inference.engine.processes.outcomes import decode_outcome
from voxgate.inference.engine.processes.remote_model import RemoteModel
from voxgate.inference.engine.ray.link import DriverLink, DriverLost, NoDriver
from voxgate.inference.engine.ray.messages import Answered, Call, Failed, PlacedAnswer, ReplicaAnswer, ReplicaCall
from voxgate.inference.engine.ray.settings import RaySettings
from voxgate.inference.engine.ray.states import PlacedStates
from voxgate.inference.engine.trial import batch_limits
from voxgate.models.base import Model
from voxgate.protocol.output import Output
from voxgate.runtime.counted import counted
from voxgate.runtime.tasks import spawn_thread
from voxgate.runtime.time_limit import TimeLimit

__all__ = ["RayEngine"]

logger = logging.getLogger("voxgate.inference.engine")

_SUBSYSTEM = "engine"


class RayEngine:
    """Makes as many calls at once as the replicas of the model run. Each has a thread, which takes a batch only then:
    what does not fit waits in the scheduler's queue, where finals overtake interims.

    A call that dies with its replica runs once more if it is a final. Without any replica, calls wait for their
    deadline, and the server is not ready. `load` comes before `start`.
    """

    def __init__(self, settings: RaySettings) -> None:
        """Starts nothing. Raises ConfigError for an address that would start a cluster."""
        if settings.address == "local":
            raise ConfigError("ray.address must be the address of a running cluster, not 'local'")
        self._settings = settings
        self._changed = threading.Condition()
        self._states = PlacedStates()
        self._link = DriverLink(settings, self._on_change, self._states.take_freed)
        self._failures = FailureLog(logger)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=plain)
        self._decoder: msgspec.msgpack.Decoder[ReplicaAnswer] = msgspec.msgpack.Decoder(ReplicaAnswer)
        # Guarded by `_changed`:
        self._source: JobSource | None = None
        self._model: RemoteModel | None = None
        self._loaded: Loaded | None = None
        self._limits = BatchLimits(1)
        self._is_other_model = False
        self._stopping = False
        self._allowed = 0
        self._pullers: list[_Puller] = []
        self._counts = EngineCounts()

    # --- the model ---

    @property
    def model(self) -> Model:
        """As a replica described it. AssertionError before `load`."""
        if self._model is None:
            raise AssertionError("load() comes first")
        return self._model

    @property
    def kind(self) -> str:
        return "ray"

    @property
    def gives_text(self) -> bool | None:
        return self.model.gives_text

    @property
    def concurrency(self) -> int:
        """It follows the number of replicas; 0: none answers."""
        with self._changed:
            return self._allowed

    @property
    def why_unready(self) -> str:
        """Why no replica answers; empty when one does."""
        return self._link.reason

    @property
    def driver_pid(self) -> int:
        """Of the driver process; 0: there is none at the moment."""
        return self._link.pid

    def load(self) -> Model:
        """Joins the cluster and returns the description of the model. Blocks, at most for `start_timeout_s`; then it
        raises ModelLoadError.
        """
        self._link.start()
        with self._changed:
            self._changed.wait_for(lambda: self._model is not None or self._stopping, self._settings.start_timeout_s)
            model = self._model
        if model is None:
            self._link.stop(5.0)
            raise ModelLoadError(f"no model on Ray after {self._settings.start_timeout_s:g} s: {self.why_unready}")
        return model

    # --- start and end ---

    def start(self, source: JobSource) -> None:
        with self._changed:
            if self._source is not None:
                raise AssertionError("the engine was started twice")
            self._source = source
        logger.info(
            "model %r runs on Ray (application %r), %s at once",
            self.model.name,
            self._settings.app,
            counted(self._allowed, "call"),
        )
        self._on_change()

    def warm_up(self) -> float:
        """The replicas have warmed up before they serve."""
        return 0.0

    def stop(self, timeout_s: float | None = None) -> bool:
        """As in the seam; the replicas go on, for other servers."""
        with self._changed:
            self._stopping = True
            pullers = list(self._pullers)
            self._changed.notify_all()
        limit = TimeLimit(timeout_s)
        for puller in pullers:
            puller.thread.join(limit.left_s)
        late = [puller for puller in pullers if puller.thread.is_alive()]
        self._link.stop(5.0)  # The calls that still run are lost.
        for puller in late:
            puller.thread.join(5.0)
        if late:
            log_left_behind(logger, len(late), self.model.name)
        return not late

    # --- its condition ---

    @property
    def ready(self) -> bool:
        return self.concurrency > 0

    @property
    def stalled_s(self) -> float:
        with self._changed:
            since_s = [puller.busy_since_s for puller in self._pullers[: self._allowed]]
        if not since_s or None in since_s:
            return 0.0
        return time.monotonic() - max(busy_s for busy_s in since_s if busy_s is not None)

    def counts(self) -> EngineCounts:
        """A replica that died in a call counts as a crash, for each batch that it ran; so does a driver process."""
        ends = self._link.counts()
        with self._changed:
            counts = replace(self._counts)
        counts.crashes += ends.crashes
        counts.kills += ends.kills
        counts.restarts += ends.restarts
        return counts

    # --- the number of calls ---

    def _on_change(self) -> None:
        """Facts or replicas have changed."""
        link = self._link
        with self._changed:
            if link.facts is not None and link.facts.model is not self._loaded:
                self._describe(link.facts.model)
            calls = 0 if link.facts is None or self._is_other_model else link.replicas * link.facts.calls
            # Rounded up: together they may make a few calls too many, and none is left without any.
            self._allowed = min(-(-calls // self._settings.servers), self._settings.calls)
            source = self._source
            idle = self._pullers[self._allowed :]
            if source is not None and not self._stopping:
                for index in range(len(self._pullers), self._allowed):
                    self._pullers.append(_Puller(index, self._pull, source))
            self._changed.notify_all()
        for puller in idle:  # They return from their `take`, without a batch.
            if source is not None:
                source.interrupt(puller.interrupt)

    def _describe(self, loaded: Loaded) -> None:
        settings = self._settings
        if self._model is None:
            self._model = RemoteModel(loaded)
            self._limits = batch_limits(
                self._model, settings.max_batch_size, settings.max_batch_seconds, settings.batch_window_s
            )
        was_other, first = self._is_other_model, RemoteModel(loaded)
        self._is_other_model = not _is_alike(self._model, first)
        self._loaded = loaded
        if self._is_other_model and not was_other:
            logger.error(
                "application %r now has another model (%r, %d Hz), with other properties, than this server began with"
                " (%r, %d Hz): restart this server",
                settings.app, first.name, first.sample_rate, self._model.name, self._model.sample_rate,
            )  # fmt: skip

    # --- a puller's thread ---

    def _pull(self, puller: _Puller, source: JobSource) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: puller.index < self._allowed or self._stopping)
                if puller.interrupt.is_set:
                    puller.interrupt = Interrupt()
                if self._stopping and not self._allowed:
                    return
            work = source.take(self._limits, None, puller.interrupt)
            if work is None:
                if puller.interrupt.is_set and not self._stopping:
                    continue
                return
            puller.busy_since_s = time.monotonic()
            self._call(source, work)
            puller.busy_since_s = None
            del work  # A puller that waits keeps no audio alive.

    def _call(self, source: JobSource, work: Work) -> None:
        jobs = isolate_retries(source, work)
        now_s = time.perf_counter()
        try:
            message = self._message(jobs, work)
            answers = _Answers(self._decoder, jobs, source)
            end = self._link.call(message, now_s + call_timeout_s(jobs, now_s), answers.take, answers.on_begun)
        except TimeoutError:
            self._add(kills=1)
            self._time_out(source, jobs)
            return
        except NoDriver:
            return_unrun(source, jobs)
            return
        except DriverLost:
            source.requeue(jobs)
            return
        except Exception:
            logger.exception("a bug of ours: a call could not be sent to the cluster")
            source.finish(jobs, [InternalError() for _ in jobs])
            return
        finally:
            jobs[0].on_cancel = None
        self._finish(source, jobs, end, answers.placed)

    def _message(self, jobs: list[Job], work: Work) -> Call:
        job, n_jobs = jobs[0], len(jobs)
        lengths = work.batch.lengths[:n_jobs].tolist()
        state = self._states.ref(job)
        call = ReplicaCall(lengths, list(work.batch.requests[:n_jobs]), self.model.sample_rate, state)
        rows = np.ascontiguousarray(work.batch.audio[:n_jobs, : max(lengths)])
        return Call(
            0,
            self._encoder.encode(call),
            rows.reshape(-1).view(np.uint8).data,
            "" if state is None else state.replica,
            n_jobs == 1 and job.on_partial is not None,
        )

    def _time_out(self, source: JobSource, jobs: list[Job]) -> None:
        if len(jobs) > 1:
            source.requeue(jobs)
            return
        if jobs[0].state is not None:
            jobs[0].state.lost = True
        whole_s = jobs[0].deadline_s - jobs[0].submitted_s
        source.finish(jobs, [InferenceError(f"The model gave no answer within {whole_s:g} s")])

    def _finish(self, source: JobSource, jobs: list[Job], end: Answered | Failed, placed: PlacedAnswer | None) -> None:
        if isinstance(end, Failed) or placed is None:
            kind, text = (end.kind, end.text) if isinstance(end, Failed) else ("bug", "no answer")
            if kind == "died":
                self._add(crashes=1)
                self._failures.write(f"a call on Ray was lost: {text}")
                source.requeue(jobs)
            elif kind == "cancelled":
                source.finish(jobs, [InferenceError(CANCELLED) for _ in jobs])
            else:
                self._failures.write(f"a bug of ours: a replica on Ray failed: {text}")
                source.finish(jobs, [InternalError() for _ in jobs])
            return
        if placed.is_lost:
            source.requeue(jobs)
            return
        outcomes: list[JobOutcome] = [decode_outcome(sent) for sent in placed.answer.outcomes]
        if len(outcomes) != len(jobs):
            what = "a bug of ours: a replica on Ray gave another number of outcomes than there were calls"
            if placed.bad_rate:
                rates = f"{placed.bad_rate} Hz, not at {self.model.sample_rate} Hz"
                what = f"the model on Ray works at {rates}: restart this server"
            self._failures.write(what)
            outcomes = [InternalError() for _ in jobs]
        elif jobs[0].state is not None:
            self._states.place(jobs[0], placed.replica)
            jobs[0].state.opened = placed.answer.opened
        with self._changed:
            self._counts.add_batch(outcomes, placed.answer.retried)
        source.finish(jobs, outcomes)

    def _add(self, crashes: int = 0, kills: int = 0) -> None:
        with self._changed:
            self._counts.crashes += crashes
            self._counts.kills += kills


class _Puller:
    """A thread that makes one call at a time."""

    def __init__(self, index: int, pull: Callable[[_Puller, JobSource], None], source: JobSource) -> None:
        self.index = index
        self.busy_since_s: float | None = None
        self.interrupt = Interrupt()
        """Set when there are fewer replicas: its `take` returns."""
        self.thread = spawn_thread(
            lambda: pull(self, source), f"voxgate-infer-{index}", daemon=True, subsystem=_SUBSYSTEM
        )


class _Answers:
    """The answers to one call: interim results go to the source at once."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[ReplicaAnswer], jobs: list[Job], source: JobSource) -> None:
        self._decoder = decoder
        self._jobs = jobs
        self._source = source
        self._cancel: Callable[[], None] = lambda: None
        self.placed: PlacedAnswer | None = None

    def on_begun(self, cancel: Callable[[], None]) -> None:
        if len(self._jobs) == 1:
            self._cancel = self._jobs[0].on_cancel = cancel

    def take(self, answered: Answered) -> bool:
        """Whether more follows."""
        answer = self._decoder.decode(answered.answer)
        if not isinstance(answer, Partial):
            self.placed = answer
            return False
        output, job = decode_outcome(answer.outcome), self._jobs[0]
        if not job.is_needed:
            self._cancel()
        elif isinstance(output, Output):
            self._source.partial(job, output)
        return True


def _is_alike(one: Model, other: Model) -> bool:
    """Whether a server that began with the first model can go on with the other."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("sample_rate", "batches", "stateful", "stateless", "options_schema", "mixes_options")
    )
