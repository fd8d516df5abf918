"""A wire of one message: what a method has to say, and what it need not."""

from __future__ import annotations

from voxgate.endpoints.grpc.native import NativeGrpcWire
from voxgate.endpoints.grpc.wire import GrpcWire
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start


def test_what_a_wire_has_to_say():
    assert GrpcWire.__abstractmethods__ == {"open", "read", "encode"}
    wire = NativeGrpcWire("simple", Start(AudioFormat(1, 16_000, 16, False)))
    assert (wire.carries_words, wire.farewell(Close(CloseReason.COMPLETED))) == (False, ())
