"""Traces by OpenTelemetry: a span for each session, its utterances and its model calls. Only this package imports it.

Nothing of OpenTelemetry is imported unless a standard variable asks for traces (OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER). A session that is not sampled has no trace object, which
costs its code one comparison with None.

All spans are made on the event loop's thread, also those of work on other threads and in other processes, from the
times that a job carries. They contain times, counts and names; never audio, results or tokens.
"""

from __future__ import annotations

from voxgate.observe.tracing.call_trace import CallTrace
from voxgate.observe.tracing.client_trace import ClientTrace
from voxgate.observe.tracing.session_trace import SessionTrace
from voxgate.observe.tracing.traceparent import Parent, parse_traceparent
from voxgate.observe.tracing.tracing import Tracing

__all__ = ["CallTrace", "ClientTrace", "Parent", "SessionTrace", "Tracing", "parse_traceparent"]
