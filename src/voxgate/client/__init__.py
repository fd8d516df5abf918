"""The streaming client: audio in, events out::

    async for event in voxgate.client.stream("talk.wav", interim_results=True):
        ...
    for event in voxgate.client.stream_blocking("talk.wav"):
        ...
    events = voxgate.client.collect("talk.wav")

It works with Voxgate and, without `stability`, `eager`, `vad`, `turn`, `options`, `notices` and `token`, with
streamer-template.
"""

from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.requests import TurnOptions, VadOptions

from .blocking import collect, stream_blocking
from .certificate import ClientCertificate
from .check import ResultCheck
from .clock import Clock
from .connection import DEFAULT_ADDR, normalize_addr
from .errors import (
    BadEvent,
    ClientError,
    ClosedError,
    ConnectError,
    MissingResults,
    RefusedError,
    RejectedError,
    SilentServer,
    SourceError,
)
from .microphone import Microphone
from .options import Options
from .reconnect import Lost, Reconnect, Resumed
from .session import Stream, stream
from .source import Source

__all__ = [
    "stream",
    "stream_blocking",
    "collect",
    "Stream",
    "Options",
    "ClientCertificate",
    "Source",
    "Microphone",
    "AudioFormat",
    "ContainerFormat",
    "TurnOptions",
    "VadOptions",
    "DEFAULT_ADDR",
    "normalize_addr",
    "Clock",
    "Reconnect",
    "Lost",
    "Resumed",
    "ResultCheck",
    "ClientError",
    "SourceError",
    "ConnectError",
    "RefusedError",
    "RejectedError",
    "ClosedError",
    "BadEvent",
    "SilentServer",
    "MissingResults",
]
