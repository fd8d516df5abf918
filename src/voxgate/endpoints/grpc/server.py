"""The gRPC server of a process: its methods, its limits and its port, on the event loop of everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from voxgate.config import Config
from voxgate.endpoints.grpc import health
from voxgate.endpoints.grpc.info_method import InfoMethod
from voxgate.endpoints.grpc.native import NativeGrpcWire
from voxgate.endpoints.grpc.request import RequestReader
from voxgate.endpoints.grpc.stream_method import StreamMethod
from voxgate.endpoints.grpc.wire import FRAME_BYTES
from voxgate.endpoints.riva.config_method import ConfigMethod
from voxgate.endpoints.riva.recording import RivaRecording
from voxgate.endpoints.riva.streaming import RivaStreaming
from voxgate.errors import ConfigError
from voxgate.proto import riva
from voxgate.proto.voxgate import API, SERVICE
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["GrpcServer"]

KEEPALIVE_MS: Final = 15_000
MIN_PING_INTERVAL_MS: Final = 5_000
MAX_PING_STRIKES: Final = 3
MAX_INT: Final = 2**31 - 1  # of an option
REFUSABLE: Final = 64
"""Calls of one connection beyond `limits.streams`. The client library would hold further ones back, where a refusal
says that the server is full.
"""


class GrpcServer:
    """Made and used on the event loop. Answers from `start` to `stop`."""

    def __init__(self, service: Service, is_shared: bool) -> None:
        """`is_shared`: other processes listen on the same port."""
        self._config = config = service.config
        entry = Entry(service.gate, service.admission, service.model, allows_token_in_start=False)
        self._server = grpc.aio.server(options=options(config, is_shared))
        reader = RequestReader(config.limits.start_timeout_s)
        methods = {
            "Stream": _stream(StreamMethod(service, entry, NativeGrpcWire)),
            "Info": _stream(InfoMethod(service, entry)),
        }
        self._add(SERVICE, methods)
        services = [SERVICE]
        if config.endpoints.riva:
            services.append(riva.SERVICE)
            methods = {
                "StreamingRecognize": _stream(StreamMethod(service, entry, RivaStreaming)),
                "Recognize": _stream(StreamMethod(service, entry, RivaRecording)),
                "GetRivaSpeechRecognitionConfig": _stream(ConfigMethod(service, entry, reader)),
            }
            self._add(riva.SERVICE, methods)
        probe = health.Health(service, services, reader)
        self._add(health.NAME, {"Check": _stream(probe.check), "Watch": _stream(probe.watch)})
        if config.grpc.reflection:
            names = (*services, health.NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server, pool=_reflected())

    def _add(self, name: str, methods: dict[str, Any]) -> None:
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods)])

    async def start(self) -> int:
        """Listens, and returns the port. ConfigError when the address cannot be used."""
        config = self._config
        host = config.server.bare_host
        where = f"[{host}]:{config.grpc.port}" if ":" in host else f"{host}:{config.grpc.port}"
        credentials = _credentials(config)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(where)
            else:
                port = self._server.add_secure_port(where, credentials)
        except RuntimeError as error:
            raise ConfigError(f"cannot listen for gRPC on {where}: is the port in use?") from error
        await self._server.start()
        return int(port)

    async def stop(self, grace_s: float) -> None:
        """Cancels what still runs after `grace_s` seconds."""
        await self._server.stop(grace_s)


def options(config: Config, is_shared: bool) -> list[tuple[str, Any]]:
    """The options of the library, from the limits of the server."""
    limits = config.limits
    largest_bytes = max(limits.message_bytes, limits.recording_bytes if config.endpoints.riva else 0)
    session_ms = min(round(1000 * config.limits.session_s), MAX_INT)
    return [
        ("grpc.so_reuseport", int(is_shared)),
        ("grpc.max_receive_message_length", largest_bytes + FRAME_BYTES),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", limits.streams + REFUSABLE),
        # The window of a stream stays at 64 KiB: the library would raise it to megabytes, and so much audio would wait
        # in the server before back-pressure reaches the client.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", round(1000 * config.server.send_timeout_s)),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.http2.max_ping_strikes", MAX_PING_STRIKES),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_idle_ms", round(1000 * limits.idle_timeout_s)),
        # What a client leaves unread stays in the library until its connection ends.
        ("grpc.max_connection_age_ms", session_ms),
        ("grpc.max_connection_age_grace_ms", session_ms),
        ("grpc.server_handshake_timeout_ms", round(1000 * limits.handshake_timeout_s)),
    ]


def _credentials(config: Config) -> grpc.ServerCredentials | None:
    """The files are those that `server.tls.tls_context` has checked."""
    settings = config.server
    if settings.tls_certificate is None:
        return None
    chain = Path(settings.tls_certificate).read_bytes()
    key = chain if settings.tls_key is None else Path(settings.tls_key).read_bytes()
    authority = None if settings.tls_client_ca is None else Path(settings.tls_client_ca).read_bytes()
    return grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=authority is not None)


def _reflected() -> descriptor_pool.DescriptorPool:
    """What reflection shows: also of the services that are others' packages."""
    pool = descriptor_pool.DescriptorPool()
    for file in (*API.files, *riva.API.files):
        pool.Add(file)
    for descriptor in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(descriptor.serialized_pb)
    return pool


def _stream(method: Callable[[Any, grpc.aio.ServicerContext], Awaitable[None]]) -> Any:
    """A handler that reads its messages itself: see `request`."""

    async def call(messages: Any, context: grpc.aio.ServicerContext) -> None:  # grpc.aio looks for such a function
        await method(messages, context)

    return grpc.stream_stream_rpc_method_handler(call)
