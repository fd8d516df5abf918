"""Texts for people and logs, without the credentials in them."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["HIDDEN", "public_url", "without_token"]

HIDDEN = "***"


def without_token(text: str, token: str | None) -> str:
    """`text` of a server without the token, which the server may have repeated in it."""
    return text if token is None else text.replace(token, HIDDEN)


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
