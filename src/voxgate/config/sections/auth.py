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
            description="Accepted tokens, separated by commas; better in `VOXGATE_AUTH_TOKENS` or `tokens_file`. "
            "`TOKEN streams=N` replaces `limits.streams_per_token` for a token.",
            extra={"is_secret": True},
        ),
    ] = ""
    tokens_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Path of a file with one token per line, as in `tokens`; `#` begins a comment. Read "
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
                description="`pkg.module:function` that checks all other tokens: `function(token: str) -> bool | "
                "str`, plain or async. A string accepts and names the client.",
            ),
        ]
        | None
    ) = None
    hook_timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=600, description="Time limit of the hook, in seconds."),
    ] = 5.0
    hook_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Concurrent calls of the hook, a quarter of them for one address.",
        ),
    ] = 64
    in_start: Annotated[
        bool,
        Meta(
            description="Whether a client may send its token in the first `start`; otherwise it needs one to connect."
        ),
    ] = True
    pending_streams: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Concurrent connections without a verified token, at most a quarter of `limits.streams`; "
            "one address may have a quarter of them.",
        ),
    ] = 64
    metrics: Annotated[bool, Meta(description="Whether `/metrics` requires a token, if tokens or a hook are set.")] = (
        True
    )
    origins: Annotated[
        str,
        Meta(
            min_length=1,
            description="Origins of web pages that may connect, separated by commas: `https://app.example.com`, "
            "`same-origin` (the server's page), `*`. Clients without an origin may always connect.",
        ),
    ] = "same-origin"

    def __repr__(self) -> str:
        return "AuthSettings(...)"  # the default repr would contain the tokens
