"""The query of a request on the API of another service."""

from __future__ import annotations

import contextlib
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.parameters import MAX_PARAMETERS, Parameters
from voxgate.errors import InvalidStart


def test_values_by_name():
    values = Parameters(b"a=1&b=x%20y&a=2&c=&d=true&e=False&f")
    assert values.all("a") == ["1", "2"]
    assert (values.text("a"), values.text("b"), values.text("z")) == ("2", "x y", None)
    assert (values.number("a"), values.number("z")) == (2, None)
    assert [values.flag(name) for name in "cdefz"] == [True, True, False, True, False]
    assert [values.asks_for(name) for name in "bez"] == [True, False, False]


@pytest.mark.parametrize("text", ["x", "-1", "1.0", "1e3", "", "9" * 10, "\u0663"])
def test_numbers_are_whole(text):
    with pytest.raises(InvalidStart, match="n: expected a whole number, got"):
        Parameters(urlencode({"n": text}).encode()).number("n")


def test_flags_are_true_or_false():
    with pytest.raises(InvalidStart, match='f: expected true or false, got "maybe"'):
        Parameters(b"f=maybe").flag("f")


@pytest.mark.parametrize("query", [b"a=\xff", b"&".join([b"a=1"] * (MAX_PARAMETERS + 1))])
def test_queries_that_nobody_means(query):
    with pytest.raises(InvalidStart, match="query: expected at most 1000 parameters in ASCII"):
        Parameters(query)


SCHEMA = {
    "properties": {
        "language": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "beams": {"type": "integer"},
        "fast": {"type": "boolean"},
        "keyterms": {"type": "array"},
        "model": {"type": "string"},
    }
}


@pytest.mark.parametrize(
    ("query", "options"),
    [
        (b"", None),
        (b"nobody=1&model=nova-3", None),
        (b"language=en-US&beams=5&fast=true", {"language": "en-US", "beams": 5, "fast": True}),
        (b"fast=false&beams=many", {"beams": "many", "fast": False}),
        (b"keyterm=a&keyterm=b%20c", {"keyterms": ["a", "b c"]}),
        (b"keyterms=%5B%22a%22%5D", {"keyterms": ["a"]}),
        (b"keyterms=%5Ba", {"keyterms": ["[a"]}),
        (b"language=1", {"language": "1"}),
    ],
)
def test_options_of_the_model(query, options):
    found = Parameters(query).options(SCHEMA, {"keyterms": "keyterm"}, {"model"})
    assert found == options
    assert Parameters(query).options(None, {}, ()) is None


@given(st.binary(max_size=200))
def test_any_query_is_read_or_refused(query):
    try:
        values = Parameters(query)
    except InvalidStart:
        return
    for read in (values.all, values.text, values.asks_for, values.flag, values.number):
        for name in ("a", "model", ""):
            with contextlib.suppress(InvalidStart):
                read(name)
