"""The exporter that the standard variables of OpenTelemetry ask for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["make_exporter", "wanted_exporter"]

logger = logging.getLogger(__name__)

GRPC_PORT: Final = 4317


def wanted_exporter(environ: Mapping[str, str]) -> str | None:
    """`otlp` or `console`, from the standard variables; None: no traces."""
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


def make_exporter(kind: str, environ: Mapping[str, str]) -> SpanExporter:
    """`kind`: `otlp` or `console`. ImportError when a package is missing, ValueError for an unknown protocol."""
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
