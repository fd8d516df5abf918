"""A collector for tests: takes spans by OTLP, over gRPC or HTTP, and keeps them."""

from __future__ import annotations

import http.server
import threading
from concurrent import futures
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as stubs
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

PROTOCOLS = ("grpc", "http/protobuf")
FAILED = Status.STATUS_CODE_ERROR


class Received:
    """One span, with what tests ask of it."""

    def __init__(self, span: Span, service_name: str) -> None:
        self.name: str = span.name
        self.service = service_name
        self.trace_id = span.trace_id.hex()
        self.id = span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.start_ns: int = span.start_time_unix_nano
        self.end_ns: int = span.end_time_unix_nano
        self.attributes = {item.key: _value(item.value) for item in span.attributes}
        self.links = [link.span_id.hex() for link in span.links]
        self.failed = span.status.code == FAILED
        self.events = {event.name: {item.key: _value(item.value) for item in event.attributes} for event in span.events}

    def __repr__(self) -> str:
        return f"{self.name}({self.id} under {self.parent_id})"


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


class Collector:
    """Listens until `stop`; `environ` is what tells a program to send its spans here."""

    def __init__(self, protocol: str) -> None:
        self._condition = threading.Condition()
        self._spans: list[Received] = []
        self.headers: list[dict[str, str]] = []
        port = self._serve_grpc() if protocol == "grpc" else self._serve_http()
        self.environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
        }

    def _take(self, request: service.ExportTraceServiceRequest) -> None:
        with self._condition:
            for resource in request.resource_spans:
                names = [_value(item.value) for item in resource.resource.attributes if item.key == "service.name"]
                for scope in resource.scope_spans:
                    self._spans += [Received(span, names[0]) for span in scope.spans]
            self._condition.notify_all()

    def wait_for(self, *names: str, timeout_s: float = 30) -> list[Received]:
        """All spans, once there are (at least) those of these names, each as often as it is named."""

        def there() -> bool:
            have = [span.name for span in self._spans]
            return all(have.count(name) >= names.count(name) for name in names)

        with self._condition:
            assert self._condition.wait_for(there, timeout_s), (names, self._spans)
            return list(self._spans)

    @property
    def spans(self) -> list[Received]:
        with self._condition:
            return list(self._spans)

    def _serve_grpc(self) -> int:
        collector = self

        class Servicer(stubs.TraceServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:
                collector._take(request)
                return service.ExportTraceServiceResponse()

        server = grpc.server(futures.ThreadPoolExecutor(1))
        stubs.add_TraceServiceServicer_to_server(Servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.stop = lambda: server.stop(0).wait()
        return int(port)

    def _serve_http(self) -> int:
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    collector._take(service.ExportTraceServiceRequest.FromString(body))
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        self.stop = stop
        return int(server.server_address[1])


def tree(spans: list[Received]) -> dict[str, Received]:
    """By id."""
    return {span.id: span for span in spans}


def named(spans: list[Received], name: str) -> list[Received]:
    return [span for span in spans if span.name == name]
