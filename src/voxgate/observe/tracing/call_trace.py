"""The trace of one model call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from voxgate.inference.engine.base import Job
    from voxgate.observe.tracing.session_trace import SessionTrace

__all__ = ["CallTrace"]


class CallTrace:
    """The spans of one model call: `inference`, from the decision to call to the answer, and below it the waiting time
    (`queue`) and the model's (`run`).
    """

    __slots__ = ("_created_ns", "_session", "span", "utterance")

    def __init__(self, session: SessionTrace, span: Span, utterance: Span | None) -> None:
        self._session = session
        self.utterance = utterance
        """Ends with this call; None: the call is not its final."""
        self._created_ns = time.time_ns()
        self.span = span

    def answered(self, job: Job, outcome: str | None = None) -> None:
        """Ends the spans with the times and the error of `job`. `outcome`: replaces that of the job."""
        session = self._session
        tracing, span = session.tracing, self.span
        if not span.is_recording():
            return
        now_ns = time.time_ns()
        if job.taken_s:
            taken_ns = max(self._created_ns, now_ns - int((time.perf_counter() - job.taken_s) * 1e9))
            done_ns = taken_ns + int(job.run_s * 1e9)
            batch = None
            if job.batch is not None and job.batch_size > 1:
                batch = tracing.batch(job.batch, taken_ns, done_ns)
            tracing.past("queue", span, self._created_ns, taken_ns, {})
            tracing.past("run", span, taken_ns, done_ns, {"voxgate.batch.size": job.batch_size}, batch)
        else:
            tracing.past("queue", span, self._created_ns, now_ns, {})
        if job.attempts > 1:
            span.set_attribute("voxgate.attempts", job.attempts)
        error = job.error
        span.set_attribute("voxgate.outcome", outcome or ("ok" if error is None else error.code))
        if error is not None:
            tracing.failed(span, error, error.code)
            if self.utterance is not None:
                tracing.failed(self.utterance, error, error.code)
        session.end_span(span)
        session.end_span(self.utterance)
