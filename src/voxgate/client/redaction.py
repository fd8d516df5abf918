"""Texts for people and logs, without the credentials in them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["HIDDEN", "public_url", "without_token"]

HIDDEN = "***"
_LONG_CHARACTERS = 8


def without_token(text: str, token: str | None) -> str:
    """`text` of a server without the token, which the server may have repeated in it."""
    if token is None:
        return text
    if len(token) >= _LONG_CHARACTERS:
        return text.replace(token, HIDDEN)
    # A short token is a part of ordinary words, whose gaps would show which one it is.
    return re.sub(rf"(?<!\w){re.escape(token)}(?!\w)", HIDDEN, text)


def public_url(url: str) -> str:
    """`url` with its query and the credentials before its host hidden."""
    if "://" not in url:
        return f"{HIDDEN}@{url.rpartition('@')[2]}" if "@" in url else url
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    host = f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    return parts._replace(netloc=host, query=HIDDEN if parts.query else "", fragment="").geturl()
