"""The messages of our own gRPC API."""

from __future__ import annotations

import pytest

pytest.importorskip("google.protobuf")

from voxgate.proto.voxgate import ClientMessage
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start, VadOptions

START = ClientMessage.DESCRIPTOR.fields_by_name["start"].message_type


def test_a_message_says_what_is_set():
    message = ClientMessage.FromString(ClientMessage(audio=b"").SerializeToString())
    assert (message.WhichOneof("message"), message.audio) == ("audio", b"")
    assert ClientMessage().WhichOneof("message") is None


def test_a_start_has_the_fields_of_the_protocol():
    """A token and a trace come as metadata; the route stands in the path of other wires."""
    fields = {*Start.__struct_fields__, "turn"} - {"token", "trace_id"} | {"route"}
    assert set(START.fields_by_name) == fields
    parts = {name: set(START.fields_by_name[name].message_type.fields_by_name) for name in ("format", "vad")}
    assert parts == {
        "format": {*AudioFormat.__struct_fields__, *ContainerFormat.__struct_fields__},
        "vad": set(VadOptions.__struct_fields__),
    }
