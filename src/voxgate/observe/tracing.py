"""Traces: a span for each session, its utterances and its model calls, by OpenTelemetry; the only door to it.

Nothing of OpenTelemetry is imported unless a standard variable asks for traces (OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER), and a session that is not sampled has no trace at all: who
works for it pays for one comparison with None.

All spans are made on the event loop's thread, also those of what workers did, from the times that a job brings back.
They hold times, counts and names; never audio, results or tokens.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from voxgate.errors import text_of
from voxgate.runtime.tasks import run_in_thread

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

    from voxgate.inference.engine.base import Job, TracedBatch

__all__ = ["CallTrace", "ClientTrace", "Parent", "SessionTrace", "Tracing", "parse_traceparent"]

logger = logging.getLogger(__name__)

# Spans of a trace that is over and a collector that does not answer: the end does not wait longer for them.
FLUSH_S = 2.0
GRPC_PORT = 4317
_SUBSYSTEM = "tracing"
_TEXT_CHARACTERS = 1000

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of somebody else that one of ours belongs under, as W3C Trace Context tells it."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    flags: int
    state: str = ""
    """What came as `tracestate`."""


def parse_traceparent(text: str | None, state: str | None = None) -> Parent | None:
    """The parent that a `traceparent` names; None for none and for an invalid one, which is no error."""
    match = _TRACEPARENT.fullmatch(text or "")
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Parent(trace_id, span_id, int(flags, 16), state or "")


class Tracing:
    """Makes spans and sends them. One for a server process; made before its loop runs, used on the loop's thread."""

    def __init__(self, exporter: SpanExporter, service_name: str = "voxgate") -> None:
        """exporter: where spans go, from a thread and a bounded queue of OpenTelemetry's own."""
        from opentelemetry import trace
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        from voxgate import __version__

        resource = Resource.create({"service.version": __version__})
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: service_name}))
        processor = BatchSpanProcessor(exporter)
        self._otel = trace
        self._exporter = exporter
        # Not made global: a model or an application with OpenTelemetry of its own keeps that.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("voxgate", __version__)
        # A batch belongs to several traces; its own span is there when any of theirs is.
        batches = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        batches.add_span_processor(processor)
        self._batch_tracer = batches.get_tracer("voxgate", __version__)

    @classmethod
    def from_environment(cls, service_name: str = "voxgate", environ: Mapping[str, str] = os.environ) -> Tracing | None:
        """What the standard variables ask for; None when they ask for nothing, or for what cannot be had, which is
        logged once.
        """
        kind = _wanted(environ)
        if kind is None:
            return None
        if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
            logger.warning("traces are asked for, but OpenTelemetry is not installed: pip install 'voxgate[otel]'")
            return None
        try:
            return cls(_exporter(kind, environ), service_name)
        except ImportError as error:
            logger.warning("traces are asked for, but cannot be sent: %s; pip install 'voxgate[otel]'", error)
        except Exception as error:  # Whatever is wrong with the variables: the server serves without traces.
            logger.warning("traces are asked for, but cannot be sent: %s: %s", type(error).__name__, error)
        return None

    def session(self, parent: Parent | None, attributes: Mapping[str, Any]) -> SessionTrace | None:
        """Begins the trace of a session; None when it is not sampled."""
        span = self._tracer.start_span(
            "session", self._context(parent), kind=self._otel.SpanKind.SERVER, attributes=dict(attributes)
        )
        return SessionTrace(self, span) if span.is_recording() else None

    def client(self, parent: Parent | None, attributes: Mapping[str, Any]) -> ClientTrace:
        """Begins the trace of a client's stream."""
        span = self._tracer.start_span(
            "stream", self._context(parent), kind=self._otel.SpanKind.CLIENT, attributes=dict(attributes)
        )
        return ClientTrace(self, span)

    async def stop(self, timeout_s: float = FLUSH_S) -> None:
        """Sends what is left, and waits for that no longer than `timeout_s`; what is not sent by then is lost."""
        stopping = run_in_thread(self._flush, "voxgate-tracing-stop", _SUBSYSTEM)
        try:
            await asyncio.wait_for(stopping, timeout_s)
        except TimeoutError:
            logger.warning("traces: the collector did not take the last spans within %g s", timeout_s)
            self._exporter.shutdown()  # ends its retries

    def _flush(self) -> None:
        self._provider.force_flush()
        self._provider.shutdown()

    def _context(self, parent: Parent | None) -> Any:
        if parent is None:
            return self._otel.set_span_in_context(self._otel.INVALID_SPAN)
        return self._under(
            self._otel.SpanContext(
                int(parent.trace_id, 16),
                int(parent.span_id, 16),
                is_remote=True,
                trace_flags=self._otel.TraceFlags(parent.flags),
                trace_state=self._otel.TraceState.from_header([parent.state]) if parent.state else None,
            )
        )

    def _under(self, context: Any) -> Any:
        return self._otel.set_span_in_context(self._otel.NonRecordingSpan(context))

    def begin(self, name: str, under: Span, attributes: Mapping[str, Any]) -> Span:
        return self._tracer.start_span(name, self._under(under.get_span_context()), attributes=dict(attributes))

    def past(
        self, name: str, under: Span, start_ns: int, end_ns: int, attributes: Mapping[str, Any], batch: Any = None
    ) -> None:
        """A span of what is over already; `batch`: the span context of the batch it was part of."""
        links = [self._otel.Link(batch)] if batch is not None else ()
        span = self._tracer.start_span(
            name, self._under(under.get_span_context()), attributes=dict(attributes), links=links, start_time=start_ns
        )
        span.end(max(start_ns, end_ns))

    def batch(self, batch: TracedBatch, start_ns: int, end_ns: int) -> Any:
        """The context of the span of a batch, which is made when the first of its calls asks for it."""
        if batch.mark is None:
            contexts = [call.span.get_span_context() for call in batch.traced if isinstance(call, CallTrace)]
            span = self._batch_tracer.start_span(
                "batch",
                self._otel.set_span_in_context(self._otel.INVALID_SPAN),
                attributes={"voxgate.batch.size": batch.size},
                links=[self._otel.Link(context) for context in contexts],
                start_time=start_ns,
            )
            span.end(max(start_ns, end_ns))
            batch.mark = span.get_span_context()
        return batch.mark

    def failed(self, span: Span, error: BaseException | None = None, code: str = "internal") -> None:
        """Says in `span` what went wrong. Without the stack: it may hold words of the model."""
        text = None if error is None else text_of(error)[:_TEXT_CHARACTERS]
        span.set_attribute("error.type", str(code))
        if error is not None:
            span.add_event("exception", {"exception.type": type(error).__qualname__, "exception.message": text or ""})
        span.set_status(self._otel.Status(self._otel.StatusCode.ERROR, text))


class SessionTrace:
    """The spans of one session. Seconds are those of its audio, but for spans, which are of the clock."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self.tracing = tracing
        self.span = span
        self._utterances: dict[int, Span] = {}  # by channel: the one that is being spoken
        self._open: dict[Span, None] = {}  # everything below the session that has not ended, in order

    @property
    def trace_id(self) -> str:
        return _trace_id(self.span)

    def speech_started(self, channel: int, start_s: float) -> None:
        self._over(self._utterances.pop(channel, None))
        self._utter(channel, start_s)

    def speech_ended(self, channel: int, end_s: float, owed: bool) -> None:
        """`owed`: its final is asked for next; otherwise the utterance is over."""
        utterance = self._utterances.get(channel)
        if utterance is not None:
            utterance.add_event("speech ended", {"voxgate.audio.end_s": end_s})
            if not owed:
                self._over(self._utterances.pop(channel))

    def asked(self, channel: int, start_s: float, end_s: float, is_final: bool | None, method: str) -> CallTrace:
        """A model call about this audio is wanted. `is_final` None: a call of a route without utterances."""
        utterance = None
        if is_final is not None:
            utterance = self._utterances.get(channel) or self._utter(channel, start_s)
        if is_final:
            assert utterance is not None
            del self._utterances[channel]
            utterance.set_attribute("voxgate.audio.end_s", end_s)
        attributes: dict[str, Any] = {
            "voxgate.channel": channel,
            "voxgate.audio.start_s": start_s,
            "voxgate.audio.end_s": end_s,
            "voxgate.method": method,
        }
        if is_final is not None:
            attributes["voxgate.final"] = is_final
        span = self.tracing.begin("inference", utterance or self.span, attributes)
        self._open[span] = None
        return CallTrace(self, span, utterance if is_final else None)

    def end(self, outcome: str, attributes: Mapping[str, Any], failed: bool = False) -> None:
        """The session is over, and everything in it that is not. `failed`: by a bug of ours."""
        for span in list(reversed(self._open)):  # the inner ones first
            span.set_attribute("voxgate.outcome", "abandoned")
            self._over(span)
        self._utterances.clear()
        self.span.set_attribute("voxgate.outcome", outcome)
        self.span.set_attributes(dict(attributes))
        if failed:
            self.tracing.failed(self.span)
        self.span.end()

    def _utter(self, channel: int, start_s: float) -> Span:
        attributes = {"voxgate.channel": channel, "voxgate.audio.start_s": start_s}
        span = self._utterances[channel] = self.tracing.begin("utterance", self.span, attributes)
        self._open[span] = None
        return span

    def _over(self, span: Span | None) -> None:
        if span is not None and span in self._open:
            del self._open[span]
            span.end()


class CallTrace:
    """The spans of one model call: `inference` from when it is wanted to its answer, and in it the waiting (`queue`)
    apart from the model (`run`).
    """

    __slots__ = ("_session", "_utterance", "_wanted_ns", "span")

    def __init__(self, session: SessionTrace, span: Span, utterance: Span | None) -> None:
        self._session = session
        self._utterance = utterance
        self._wanted_ns = time.time_ns()
        self.span = span

    def answered(self, job: Job, outcome: str | None = None) -> None:
        """The call is over, with what stands in `job`. `outcome`: what became of it, if not that."""
        session = self._session
        tracing, span = session.tracing, self.span
        if not span.is_recording():
            return
        now_ns = time.time_ns()
        if job.taken_s:
            taken_ns = max(self._wanted_ns, now_ns - int((time.perf_counter() - job.taken_s) * 1e9))
            done_ns = taken_ns + int(job.run_s * 1e9)
            batch = None
            if job.batch is not None and job.batch_size > 1:
                batch = tracing.batch(job.batch, taken_ns, done_ns)
            tracing.past("queue", span, self._wanted_ns, taken_ns, {})
            tracing.past("run", span, taken_ns, done_ns, {"voxgate.batch.size": job.batch_size}, batch)
        else:
            tracing.past("queue", span, self._wanted_ns, now_ns, {})
        if job.attempts > 1:
            span.set_attribute("voxgate.attempts", job.attempts)
        error = job.error
        span.set_attribute("voxgate.outcome", outcome or ("ok" if error is None else error.code))
        if error is not None:
            tracing.failed(span, error, error.code)
            if self._utterance is not None:
                tracing.failed(self._utterance, error, error.code)
        session._over(span)
        session._over(self._utterance)


class ClientTrace:
    """The span of one stream, on the client's side."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span

    @property
    def trace_id(self) -> str:
        return _trace_id(self._span)

    @property
    def traceparent(self) -> str:
        """What the server is told."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, attributes: Mapping[str, Any], error: BaseException | None = None) -> None:
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._tracing.failed(self._span, error, type(error).__qualname__)
        self._span.end()


def _trace_id(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


def _wanted(environ: Mapping[str, str]) -> str | None:
    """`otlp` or `console`; None: no traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    kind = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if kind == "none":
        return None
    if kind:
        if kind not in ("otlp", "console"):
            logger.warning("OTEL_TRACES_EXPORTER: expected otlp, console or none, got %r: no traces", kind)
            return None
        return kind
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return "otlp" if any(environ.get(name, "").strip() for name in endpoints) else None


def _exporter(kind: str, environ: Mapping[str, str]) -> SpanExporter:
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or ""
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if not protocol:
        protocol = "grpc" if urlsplit(endpoint).port == GRPC_PORT else "http/protobuf"
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter()
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc or http/protobuf, got {protocol!r}")
