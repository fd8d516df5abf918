"""When a certificate is valid, and what is said when it is not."""

from __future__ import annotations

import datetime
import logging

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from voxgate.config import ServerSettings
from voxgate.server.certificates import Validity, validities, warning_about
from voxgate.server.tls import tls_context


def at(year: int, month: int = 1, day: int = 1) -> datetime.datetime:
    return datetime.datetime(year, month, day, 12, 30, tzinfo=datetime.UTC)


def issue(not_before: datetime.datetime, not_after: datetime.datetime) -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost", not_before=not_before, not_after=not_after)


def pem_of(*pairs: tuple[datetime.datetime, datetime.datetime]) -> bytes:
    return b"".join(issue(*pair).cert_chain_pems[0].bytes() for pair in pairs)


@pytest.mark.parametrize(
    ("begin", "end"),
    [(at(1999), at(2049, 12, 31)), (at(2020), at(2050)), (at(2051), at(2100))],
    ids=["short years", "long end", "long years"],
)
def test_both_ways_to_write_a_time(begin, end):
    assert validities(pem_of((begin, end))) == [Validity(begin, end)]


def test_what_is_said():
    good, old, early = (at(2020), at(2030)), (at(2010), at(2019, 5)), (at(2028), at(2040))
    assert warning_about(pem_of(good), at(2026)) is None
    assert (
        warning_about(pem_of(old), at(2026)) == "the certificate has expired: it was valid until 2019-05-01 12:30 UTC"
    )
    assert (
        warning_about(pem_of(early), at(2026))
        == "the certificate is not valid yet: it will be from 2028-01-01 12:30 UTC"
    )
    assert (
        warning_about(pem_of(good, old), at(2026))
        == "certificate 2 of the chain has expired: it was valid until 2019-05-01 12:30 UTC"
    )
    begin, end = good
    assert (warning_about(pem_of(good), begin), warning_about(pem_of(good), end)) == (None, None)


@given(st.data())
def test_a_certificate_that_cannot_be_read_is_no_failure(data):
    """Only OpenSSL decides what a certificate is."""
    pem = pem_of((at(2010), at(2019)))
    lines = pem.splitlines(keepends=True)
    damaged = b"".join(lines[:1] + lines[1:-1][: data.draw(st.integers(0, len(lines) - 2))] + lines[-1:])
    assert warning_about(damaged, at(2026)) in (None, warning_about(pem, at(2026)))
    assert warning_about(data.draw(st.binary(max_size=200)), at(2026)) is None


@pytest.mark.parametrize(
    ("begin", "end", "told"),
    [
        (at(2010), at(2019), "the certificate has expired: it was valid until 2019-01-01 12:30 UTC"),
        (at(2090), at(2099), "the certificate is not valid yet: it will be from 2090-01-01 12:30 UTC"),
        (at(2010), at(2099), None),
    ],
    ids=["expired", "early", "good"],
)
def test_the_server_starts_and_says_so(tmp_path, caplog, begin, end, told):
    path = tmp_path / "both.pem"
    issue(begin, end).private_key_and_cert_chain_pem.write_to_path(path)
    with caplog.at_level(logging.WARNING):
        assert tls_context(ServerSettings(tls_certificate=str(path))) is not None
    expected = [] if told is None else [f"server.tls_certificate: {path}: {told}; clients will refuse it"]
    assert caplog.messages == expected
