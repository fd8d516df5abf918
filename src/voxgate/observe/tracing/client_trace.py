"""The trace of one stream on the client's side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from voxgate.observe.tracing.tracing import Tracing

__all__ = ["ClientTrace"]


class ClientTrace:
    """The span of one stream, on the client's side."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """The `traceparent` to send to the server."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, attributes: Mapping[str, Any], error: BaseException | None = None) -> None:
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._tracing.failed(self._span, error, type(error).__qualname__)
        self._span.end()
