"""Tokens: what a header can carry, and never a word of one in a text that somebody may read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["HIDDEN", "clean_token", "public_url", "token_from_environment", "without_token"]

HIDDEN = "***"


def clean_token(token: str, in_header: bool = True) -> str:
    """The token without white space around it, such as the line end of a file it was read from.

    ValueError, which does not show it: nothing is left, or with `in_header` it has a character that no HTTP header can
    carry, which is anything but ASCII letters, digits, punctuation and spaces.
    """
    token = token.strip()
    if not token:
        raise ValueError("token: expected at least one character that is no white space")
    if in_header and not all(" " <= character <= "~" for character in token):
        raise ValueError("token: expected printable ASCII characters, as an HTTP header can carry no others")
    return token


def token_from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """The value of VOXGATE_TOKEN; None when it is not set or only white space."""
    return environ.get("VOXGATE_TOKEN", "").strip() or None


def without_token(text: str, token: str | None) -> str:
    """A text of a server, in which it may have repeated the token that it got."""
    return text if token is None else text.replace(token, HIDDEN)


def public_url(url: str) -> str:
    """`url` as it may be printed: credentials before the host and the query are hidden."""
    if "://" not in url:
        return f"{HIDDEN}@{url.rpartition('@')[2]}" if "@" in url else url
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    host = f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    return parts._replace(netloc=host, query=HIDDEN if parts.query else "", fragment="").geturl()
