"""A token as text: what both sides accept, which is what can travel behind `Authorization: Bearer`."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_TOKEN_BYTES", "clean_token"]

MAX_TOKEN_BYTES: Final = 16_384  # a quarter of the most that the headers of a request may take


def clean_token(text: str) -> str:
    """`text` without the white space around it, such as the line feed at the end of a file.

    Raises ValueError when nothing is left, or when a header cannot carry the rest: characters other than visible ASCII,
    or more than `MAX_TOKEN_BYTES`. The error never contains the token.
    """
    token = text.strip()
    if not token:
        raise ValueError("expected a token, got white space only")
    if not token.isascii():
        raise ValueError("expected a token in ASCII: a header cannot carry other characters")
    if not token.isprintable() or " " in token:
        raise ValueError("expected one token, without blanks and control characters")
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"expected a token of at most {MAX_TOKEN_BYTES} bytes")
    return token
