"""The gRPC APIs: any bytes are a message or refused, audio passes through however it is cut, and whatever is answered
can be read by the messages of the proto files.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fuzz.fuzz_deepgram import event
from fuzz.source import Source
from voxgate.config import Config
from voxgate.endpoints.grpc.native import NativeGrpcWire
from voxgate.endpoints.riva.recording import RivaRecording
from voxgate.endpoints.riva.streaming import RivaStreaming
from voxgate.errors import InternalError, VoxgateError
from voxgate.models.function import FunctionModel
from voxgate.models.session_options import SessionOptions
from voxgate.proto.riva import (
    RecognizeRequest,
    RecognizeResponse,
    StreamingRecognizeRequest,
    StreamingRecognizeResponse,
)
from voxgate.proto.voxgate import ClientMessage, ServerMessage
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, Stop

CONTEXT: Any = SimpleNamespace(
    config=Config(), session_options=SessionOptions(FunctionModel(lambda audio: {"text": ""}))
)
FORMAT = {"channels": 1, "sample_rate": 16_000, "bit_depth": 16, "is_float": False}
WAV = b"RIFF\xff\xff\xff\xffWAVE"
APIS = (
    (NativeGrpcWire, ClientMessage(start={"format": FORMAT}), ServerMessage),
    (
        RivaStreaming,
        StreamingRecognizeRequest(
            streaming_config={"config": {"encoding": 1, "sample_rate_hertz": 8000}, "interim_results": True}
        ),
        StreamingRecognizeResponse,
    ),
    (RivaRecording, RecognizeRequest(config={"encoding": 1, "sample_rate_hertz": 8000}, audio=b"a"), RecognizeResponse),
)


def opened(source: Source, kind: Any, good: bytes) -> Any:
    """A first message of the source's choice has been read or refused; the wire is that of a good one."""
    data = bytearray(good if source.flag() else source.take(source.integer(0, 60)))
    for _ in range(source.integer(0, 3)):
        at = source.integer(0, len(data))
        data[at : at + source.integer(0, 2)] = source.take(source.integer(0, 2))
    try:
        wire = kind.open(bytes(data), CONTEXT, "an-id")
        assert all(isinstance(part, bytes | Start) for part in wire.opening)
    except VoxgateError as error:
        assert str(error)
    return kind.open(good, CONTEXT, "an-id")


def cut(source: Source, wire: Any) -> None:
    """The audio of a stream arrives whole and in order, behind one start."""
    audio = (WAV if source.flag() else b"") + source.take(source.integer(0, 40))
    request = ClientMessage if isinstance(wire, NativeGrpcWire) else StreamingRecognizeRequest
    field = "audio" if isinstance(wire, NativeGrpcWire) else "audio_content"
    received = list(wire.opening)
    for piece in source.pieces(audio, source.integer(1, 6)):
        received += wire.read(request(**{field: piece}).SerializeToString())
    received += wire.at_half_close()
    assert isinstance(received[0], Start)
    assert received[-1] == Stop(disconnect=True)
    assert b"".join(received[1:-1]) == audio
    is_wav = isinstance(wire, RivaStreaming) and audio[:4] == b"RIFF" and audio[8:12] == b"WAVE"
    assert isinstance(received[0].format, AudioFormat) != is_wav


def fuzz(data: bytes) -> None:
    source = Source(data)
    kind, good, response = source.pick(APIS)
    wire = opened(source, kind, good.SerializeToString())
    if kind is not RivaRecording:
        cut(source, kind.open(good.SerializeToString(), CONTEXT, "an-id"))
    time_s = 0.0
    while source.left:
        if source.integer(0, 2) == 0:
            try:
                wire.read(source.take(source.integer(0, 30)))
            except VoxgateError as error:
                assert str(error)
            continue
        time_s += source.integer(0, 3)
        try:
            told = event(source, time_s)
        except (ValueError, RecursionError):
            continue  # the source made a JSON that is none
        try:
            for message in wire.encode(told):
                response.FromString(message)
        except InternalError as error:
            assert str(error)
    for message in wire.farewell(Close(CloseReason.COMPLETED)):
        response.FromString(message)


SEEDS = [bytes([kind, 0, *good.SerializeToString(), *range(60)]) for kind, (_, good, _) in enumerate(APIS)] + [
    bytes(range(256)),
    bytes(80),
]
