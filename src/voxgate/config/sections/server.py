"""The settings of the section ``server``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["ServerSettings"]


class ServerSettings(Struct, frozen=True, kw_only=True):
    """The address, processes, TLS and logs of the server."""

    host: Annotated[
        str, Meta(min_length=1, description="Address to listen on; `0.0.0.0` or `::` for every interface.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port to listen on; 0 takes any free port.")] = 8080
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Server processes that share the port. Each loads the model and applies the limits to itself "
            "alone; one that dies is replaced.",
        ),
    ] = 1
    drain_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="Time until the process ends after a request to stop, in seconds. Running sessions may "
            "finish; those still open in the last tenth of it (at most 2 s) are ended, get their finals "
            "and are closed with 1001.",
        ),
    ] = 30.0
    hang_timeout_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="With several server processes (`workers`): a process whose event loop has not responded for "
            "this long, in seconds, is killed and replaced. It must be longer than every healthy pause, "
            "such as a call that holds the GIL on threads. While a process loads its model, a response of "
            "any of its threads counts. 0: never.",
        ),
    ] = 60.0
    tls_certificate: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of the certificate (PEM, with its chain). When set, the server speaks TLS.",
            ),
        ]
        | None
    ) = None
    tls_key: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of the certificate's private key (PEM); when not set, the key is read from the "
                "certificate's file.",
            ),
        ]
        | None
    ) = None
    tls_client_ca: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of the certificates (PEM) of the authorities that issue certificates to clients. "
                "When set, every client needs such a certificate, on every port: probes and Prometheus too.",
            ),
        ]
        | None
    ) = None
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses or networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are "
            "trusted, separated by commas; `*` trusts every client. Empty: none."
        ),
    ] = ""
    allowed_hosts: Annotated[
        str,
        Meta(
            min_length=1,
            description="Names by which clients may address the server (the `Host` of a request, with any port), "
            "separated by commas: names, `*.example.com`, addresses, networks, `local` for `localhost`, "
            "`127.0.0.0/8` and `[::1]`, `*` for any. `auto` is `local` when the server listens on a "
            "loopback address and requires no token, otherwise `*`. Proxies in `trusted_proxies` may use "
            "any name, and so may `health` and `ready`.",
        ),
    ] = "auto"
    log_format: Annotated[
        Literal["auto", "human", "json"],
        Meta(
            description="Format of log lines: text (`human`) or JSON objects (`json`); `auto` is human on a terminal."
        ),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], Meta(description="Least severe level that is logged.")
    ] = "info"
    send_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="A client that reads nothing for this long while events wait for it is disconnected, in "
            "seconds.",
        ),
    ] = 20.0
    receive_buffer_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            le=16_777_216,
            description="Receive buffer of a client's socket, in bytes. A small buffer slows a client down sooner, so "
            "that less audio waits ahead of its pings; a large one sustains a higher rate over a long "
            "distance: about this much per round trip.",
        ),
    ] = 32_768

    @property
    def bare_host(self) -> str:
        """`host` for the operating system: without the brackets that may surround an IPv6 address, as in a URL."""
        return self.host[1:-1] if self.host.startswith("[") and self.host.endswith("]") else self.host
