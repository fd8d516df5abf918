"""The validity periods of the certificates in a PEM file (RFC 5280, section 4.1)."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0  # tags of DER


class Validity(NamedTuple):
    """The period in which a certificate is valid, in UTC."""

    begin: datetime.datetime
    end: datetime.datetime


def validities(pem: bytes) -> list[Validity]:
    """One for each certificate, in the order of the file. ValueError when one cannot be parsed."""
    return [_validity(base64.b64decode(found[1])) for found in _PEM.finditer(pem)]


def warning_about(pem: bytes, now: datetime.datetime) -> str | None:
    """Why clients would refuse a certificate of this file at `now`; None when all are valid or one cannot be parsed."""
    try:
        found = validities(pem)
    except ValueError:
        return None
    for number, (begin, end) in enumerate(found, 1):
        which = "the certificate" if number == 1 else f"certificate {number} of the chain"
        if now > end:
            return f"{which} has expired: it was valid until {end:%Y-%m-%d %H:%M} UTC"
        if now < begin:
            return f"{which} is not valid yet: it will be from {begin:%Y-%m-%d %H:%M} UTC"
    return None


def _validity(der: bytes) -> Validity:
    [(_, certificate), *_] = _elements(der)
    [(_, body), *_] = _elements(certificate)
    fields = [element for element in _elements(body) if element[0] != _VERSION]
    # Serial number, signature algorithm, issuer, validity.
    if len(fields) < 4 or fields[3][0] != _SEQUENCE:
        raise ValueError("expected a certificate")
    begin, end = _elements(fields[3][1])
    return Validity(_time(*begin), _time(*end))


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in the sequence `der`."""
    pos = 0
    while pos < len(der):
        if pos + 2 > len(der):
            raise ValueError("expected a whole element")
        tag, length, pos = der[pos], der[pos + 1], pos + 2
        if length & 0x80:
            n_bytes = length & 0x7F
            length, pos = int.from_bytes(der[pos : pos + n_bytes]), pos + n_bytes
        if pos + length > len(der):
            raise ValueError("expected a whole element")
        yield tag, der[pos : pos + length]
        pos += length


def _time(tag: int, content: bytes) -> datetime.datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("expected a time")
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)
