"""The spans of a process, and their way to a collector."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from voxgate.errors import text_of
from voxgate.observe.tracing.call_trace import CallTrace
from voxgate.observe.tracing.client_trace import ClientTrace
from voxgate.observe.tracing.exporter import make_exporter, wanted_exporter
from voxgate.observe.tracing.session_trace import SessionTrace
from voxgate.observe.tracing.traceparent import Parent
from voxgate.runtime.tasks import run_in_thread

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

    from voxgate.inference.engine.base import Batched

__all__ = ["Tracing"]

logger = logging.getLogger(__name__)

FLUSH_S: Final = 2.0
"""The end of a process waits this long for a collector that does not answer."""

_SUBSYSTEM: Final = "tracing"
_TEXT_CHARACTERS: Final = 1000


class Tracing:
    """Makes spans and sends them. One for a process; constructed before its loop runs, used on the loop's thread."""

    def __init__(self, exporter: SpanExporter, service_name: str = "voxgate") -> None:
        """exporter: gets the spans from a thread of OpenTelemetry, through a bounded queue."""
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
        # Not the global provider: that belongs to the application, or to a model that uses OpenTelemetry itself.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("voxgate", __version__)
        # A batch belongs to several traces: it has a span when any of them is sampled.
        batches = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        batches.add_span_processor(processor)
        self._batch_tracer = batches.get_tracer("voxgate", __version__)

    @classmethod
    def from_environment(cls, service_name: str = "voxgate", environ: Mapping[str, str] = os.environ) -> Tracing | None:
        """As the standard variables say; None when they ask for no traces, or for an exporter that is not available,
        which is logged.
        """
        kind = wanted_exporter(environ)
        if kind is None:
            return None
        if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
            logger.warning("no traces: OpenTelemetry is not installed: pip install 'voxgate[otel]'")
            return None
        try:
            return cls(make_exporter(kind, environ), service_name)
        except ImportError as error:
            logger.warning("no traces: %s; pip install 'voxgate[otel]'", error)
        except Exception as error:  # the variables are wrong: the server serves without traces
            logger.warning("no traces: %s: %s", type(error).__name__, error)
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
        """Sends the remaining spans for at most `timeout_s` seconds; spans that are not sent by then are lost."""
        stopping = run_in_thread(self._flush, "voxgate-tracing-stop", _SUBSYSTEM)
        try:
            await asyncio.wait_for(stopping, timeout_s)
        except TimeoutError:
            logger.warning("traces: the collector did not accept the last spans within %g s", timeout_s)
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
        """A span that starts now, below `under`."""
        return self._tracer.start_span(name, self._under(under.get_span_context()), attributes=dict(attributes))

    def past(
        self, name: str, under: Span, start_ns: int, end_ns: int, attributes: Mapping[str, Any], batch: Any = None
    ) -> None:
        """A span of the past; `batch`: the span context of the batch it was part of."""
        links = [self._otel.Link(batch)] if batch is not None else ()
        span = self._tracer.start_span(
            name, self._under(under.get_span_context()), attributes=dict(attributes), links=links, start_time=start_ns
        )
        span.end(max(start_ns, end_ns))

    def batch(self, batch: Batched, start_ns: int, end_ns: int) -> Any:
        """The context of the span of a batch. The first of its calls to ask for it creates the span."""
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
        """Marks `span` as failed. Without the stack, which may contain text of the model."""
        text = None if error is None else text_of(error)[:_TEXT_CHARACTERS]
        span.set_attribute("error.type", str(code))
        if error is not None:
            span.add_event("exception", {"exception.type": type(error).__qualname__, "exception.message": text or ""})
        span.set_status(self._otel.Status(self._otel.StatusCode.ERROR, text))
