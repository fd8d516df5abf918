"""Where the clients of other services put their key: a scheme of the `Authorization` header, or a subprotocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from voxgate.endpoints.wire import Credentials
from voxgate.service.access.addresses import Headers, values_of

__all__ = ["BARE", "credentials_in"]

BARE: Final = ""
"""The scheme of a header that is the key alone."""


def credentials_in(headers: Headers, subprotocols: Sequence[str], schemes: Sequence[str]) -> Credentials:
    """The key of a request.

    `schemes`, in lower case: those of the header, of which `BARE` is a header without a scheme; and the first of two
    subprotocols, of which the second is the key, for web pages, which cannot set headers. The first is answered then.
    A header that is repeated or not UTF-8, and one of another scheme, give a token that is never valid.
    """
    values = values_of(headers, b"authorization")
    if values:
        return Credentials(_of_header(values[0], schemes) if len(values) == 1 else "")
    if len(subprotocols) == 2 and subprotocols[0].lower() in schemes and subprotocols[0]:
        return Credentials(subprotocols[1], subprotocols[0])
    return Credentials()


def _of_header(value: bytes, schemes: Sequence[str]) -> str:
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        return ""
    scheme, _, key = text.partition(" ")
    if key and scheme.lower() in schemes:
        return key.strip()
    return text if BARE in schemes and not key else ""
