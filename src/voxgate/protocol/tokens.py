"""A token as text, for the server and the client alike: what can travel behind `Authorization: Bearer`."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_TOKEN_BYTES", "clean_token"]

MAX_TOKEN_BYTES: Final = 16_384  # a quarter of what the headers of a request may be


def clean_token(text: str) -> str:
    """`text` without the white space around it, such as the line feed at the end of a file; it may be empty.

    ValueError for what cannot travel in a header: anything but visible ASCII characters, or more than
    `MAX_TOKEN_BYTES`. Its text never holds the token.
    """
    token = text.strip()
    if not token.isascii():
        raise ValueError("expected a token in ASCII: other characters cannot travel in a header")
    if not token.isprintable() or " " in token:
        raise ValueError("expected one token, without blanks and control characters")
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"expected at most {MAX_TOKEN_BYTES} bytes")
    return token
