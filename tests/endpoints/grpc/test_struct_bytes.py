"""Our bytes of a Struct are those of protobuf."""

from __future__ import annotations

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from voxgate.endpoints.grpc.struct_bytes import MAX_DEPTH, length, struct_bytes
from voxgate.errors import InternalError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)


def parsed(items):
    return struct_pb2.Struct.FromString(struct_bytes(items))


@settings(max_examples=30)
@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_a_reader_finds_what_was_written(items):
    expected = struct_pb2.Struct()
    expected.update(items)
    assert parsed(items) == expected


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=False), min_size=14, max_size=40))
def test_many_floats(values):
    assert list(parsed({"values": values})["values"]) == values


def test_what_is_no_float():
    assert json_format.MessageToDict(parsed({"a": [1] * 20, "b": 2**2000 > 0})) == {"a": [1.0] * 20, "b": True}
    assert parsed({"big": 10**400, "small": -(10**400)}).fields["small"].number_value == float("-inf")


def test_lengths():
    assert [length(n) for n in (0, 127, 128, 300, 2**21)] == [
        b"\0",
        b"\x7f",
        b"\x80\x01",
        b"\xac\x02",
        b"\x80\x80\x80\x01",
    ]


def test_the_deepest():
    def nested(n):
        return 1 if n == 0 else {"in": nested(n - 1)}

    assert parsed({"in": nested(MAX_DEPTH)})
    with pytest.raises(InternalError):
        struct_bytes({"in": nested(MAX_DEPTH + 1)})
