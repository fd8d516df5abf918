"""Multipart bodies, cut anywhere."""

from __future__ import annotations

import contextlib
import itertools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.openai.errors import ApiError
from voxgate.endpoints.openai.form import Field, FileBegin, FileEnd, FormEnd, FormParser

TYPE = "multipart/form-data; boundary=xyz"
BODY = (
    b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    b"RIFF\r\n--xy\r\n--xyzz\r\n-\r\n--xyz\r\n"
    b'Content-Disposition: form-data; name="timestamp_granularities[]"\r\n\r\nw\xc3\xb6rd\r\n--xyz--\r\n'
)


def merged(items):
    """The items, with the pieces of the file put together."""
    result = []
    for item in items:
        if isinstance(item, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += item
        else:
            result.append(item)
    return result


def parse(body, cuts=(), limit=10_000):
    parser = FormParser(TYPE, limit)
    edges = [0, *sorted(cuts), len(body)]
    items = [item for begin, end in itertools.pairwise(edges) for item in parser.feed(body[begin:end])]
    parser.finish()
    return merged(items)


EXPECTED = [
    Field("model", "whisper-1"),
    FileBegin("audio/wav"),
    b"RIFF\r\n--xy\r\n--xyzz\r\n-",
    FileEnd(),
    Field("timestamp_granularities[]", "wörd"),
    FormEnd(),
]


def test_every_cut():
    assert parse(BODY) == EXPECTED
    for cut in range(len(BODY)):
        assert parse(BODY, [cut]) == EXPECTED
    assert parse(BODY, range(len(BODY))) == EXPECTED


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
def test_random_cuts(cuts):
    assert parse(BODY, cuts) == EXPECTED


def test_bytes_behind_the_form_are_ignored():
    assert parse(BODY + b"--xyz\r\nmore") == EXPECTED


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "text/plain; a=b"]
)
def test_another_type(content_type):
    with pytest.raises(ApiError, match="expected a body of type multipart/form-data"):
        FormParser(content_type, 1000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no form", "the form cannot be parsed"),
        (BODY[:-8], "the form ends before its last boundary"),
        (b"", "the form ends before its last boundary"),
        (b"--xyz\r\nX: 1\r\n\r\nv\r\n--xyz--\r\n", "a part of the form has no name"),
        (BODY.replace(b'"model"', b'"file"'), "expected one file, got several"),
        (BODY.replace(b"whisper-1", b"\xff"), "model: expected UTF-8 text"),
        (b"--xyz\r\nna me: 1\r\n\r\nv\r\n--xyz--\r\n", "the form cannot be parsed"),
    ],
)
def test_what_is_no_form(body, message, caplog):
    with pytest.raises(ApiError, match=message):
        parse(body)
    assert caplog.records == []


@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 2000,
        b'Content-Disposition: form-data; name="' + b"a" * 2000 + b'"\r\n\r\n',
        b"\r\n".join(b"X-%d: 1" % number for number in range(1000)),
        b"X" * 3000 + b": 1",
        b"X: " + b"1" * 3000,
    ],
    ids=["value", "name", "many headers", "a long name", "a long value"],
)
def test_fields_have_a_size(part):
    """As soon as it is exceeded: nothing has to be complete."""
    with pytest.raises(ApiError):
        parse(b"--xyz\r\n" + part, limit=1000)


def test_a_million_empty_parts():
    parser = FormParser(TYPE, 65_536)
    part = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    for _ in range(200):
        parser.feed(part)
    with pytest.raises(ApiError, match="expected at most 65536 bytes of fields"):
        parser.feed(part * 100)


def test_a_file_has_any_size_and_nothing_of_it_is_kept():
    parser = FormParser(TYPE, 1000)
    parser.feed(b'--xyz\r\nContent-Disposition: form-data; name="file"\r\n\r\n')
    for _ in range(100):
        assert sum(map(len, parser.feed(bytes(100_000)))) == 100_000


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes(body, cut):
    body = BODY[: len(BODY) // 2] + body
    with contextlib.suppress(ApiError):
        parse(body, [min(cut, len(body))])


def test_the_library_logs_nothing():
    assert not logging.getLogger("python_multipart.multipart").isEnabledFor(logging.ERROR)
