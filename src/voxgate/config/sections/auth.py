"""The settings of the section ``auth``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["AuthSettings"]


class AuthSettings(Struct, frozen=True, kw_only=True):
    """Access to streams. Without tokens and without a hook, every client may open one."""

    tokens: Annotated[
        str,
        Meta(
            description="Accepted tokens, separated by commas; better set in the environment (`VOXGATE_AUTH_TOKENS`) "
            "or in `tokens_file`. `TOKEN streams=N` gives a token its own limit, in place of "
            "`limits.streams_per_token`.",
            extra={"is_secret": True},
        ),
    ] = ""
    tokens_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of a file with one token per line, as in `tokens`; `#` begins a comment. It is read "
                "once, at the start.",
            ),
        ]
        | None
    ) = None
    hook: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="`pkg.module:function` that decides about every other token: `function(token: str) -> "
                "bool | str`, plain or async; a string is a yes with the name of the client. Tokens of `tokens` and "
                "`tokens_file` are accepted without calling it.",
            ),
        ]
        | None
    ) = None
    hook_timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=600, description="Time the hook may take, in seconds; then the client is refused with 503."),
    ] = 5.0
    hook_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Concurrent calls of the hook, a quarter of them for one address; further clients are refused "
            "with 503.",
        ),
    ] = 64
    in_start: Annotated[
        bool,
        Meta(
            description="Whether a client may connect without a token and send it in its first `start`; otherwise it "
            "gets HTTP 401."
        ),
    ] = True
    pending_streams: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Concurrent connections whose token is not verified yet, at most a quarter of "
            "`limits.streams`; one address may have a quarter of them. Further ones get HTTP 503 or 429.",
        ),
    ] = 64
    metrics: Annotated[
        bool, Meta(description="Whether `/metrics` requires a token too, when tokens or a hook are set.")
    ] = True
    origins: Annotated[
        str,
        Meta(
            min_length=1,
            description="Origins of web pages that may connect, separated by commas, such as "
            "`https://app.example.com`; `same-origin` is the server's own page, `*` any. Clients that "
            "send no origin are not web pages and may connect.",
        ),
    ] = "same-origin"

    def __repr__(self) -> str:
        return "AuthSettings(...)"  # the default repr would contain the tokens
