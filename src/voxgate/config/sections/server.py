"""The settings of the section ``server``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["ServerSettings"]


class ServerSettings(Struct, frozen=True, kw_only=True):
    """The address, processes, TLS and logs of the server."""

    host: Annotated[
        str, Meta(min_length=1, description="Address to listen on; `0.0.0.0` or `::` for all interfaces.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port to listen on; 0 takes any free port.")] = 8080
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Server processes on the port, each with its own model and limits. A process that dies "
            "is replaced.",
        ),
    ] = 1
    drain_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="Time for running sessions after a request to stop, in seconds. In the last tenth of it "
            "(at most 2 s), the server ends the rest, sends their finals and closes with 1001.",
        ),
    ] = 30.0
    hang_timeout_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="Time without a sign of life after which one of several server processes is killed and "
            "replaced, in seconds; 0: never. It must exceed every healthy pause, such as a call that "
            "holds the GIL. While the model loads, any thread counts.",
        ),
    ] = 60.0
    tls_certificate: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of the certificate (PEM, with its chain); turns TLS on.",
            ),
        ]
        | None
    ) = None
    tls_key: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of the private key (PEM); not set: in the file of the certificate.",
            ),
        ]
        | None
    ) = None
    tls_client_ca: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of the authorities (PEM) that issue client certificates. Every client then needs "
                "one, on every port, probes and Prometheus included.",
            ),
        ]
        | None
    ) = None
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count, "
            "separated by commas; `*`: every client."
        ),
    ] = ""
    allowed_hosts: Annotated[
        str,
        Meta(
            min_length=1,
            description="Accepted `Host` headers, separated by commas: names, `*.example.com`, addresses, "
            "networks, `local` (`localhost`, `127.0.0.0/8`, `[::1]`), `*`. `auto`: `local` on a "
            "loopback address without tokens, otherwise `*`. `trusted_proxies`, `health` and `ready` "
            "accept any.",
        ),
    ] = "auto"
    log_format: Annotated[
        Literal["auto", "human", "json"],
        Meta(description="Format of log lines: text or JSON objects; `auto`: text on a terminal."),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], Meta(description="Least severe level that is logged.")
    ] = "info"
    send_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="Time after which a client that does not read its events is disconnected, in seconds.",
        ),
    ] = 20.0
    receive_buffer_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            le=16_777_216,
            description="Receive buffer of a client's socket, in bytes. A small one answers pings sooner under "
            "back-pressure; a large one allows a higher rate over long distances: about this much "
            "per round trip.",
        ),
    ] = 32_768

    @property
    def bare_host(self) -> str:
        """`host` for the operating system: without the brackets that may surround an IPv6 address, as in a URL."""
        return self.host[1:-1] if self.host.startswith("[") and self.host.endswith("]") else self.host
