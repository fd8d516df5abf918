"""What clients and servers say to each other: audio formats, requests and events, and their JSON.

`voxgate.protocol.machine` is the session machine, which belongs to no wire; `voxgate.protocol.json_codec` is the JSON
of the native wire.
"""

from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Event,
    Finished,
    Flushed,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    SpeechResumed,
    Started,
    UnknownEvent,
)
from voxgate.protocol.formats import (
    COMPANDED,
    PCM_ENCODINGS,
    AudioFormat,
    ContainerFormat,
    Format,
    MediaFormat,
    check_container,
    check_format,
)
from voxgate.protocol.json_codec import encode_event, encode_request, parse_event, parse_request
from voxgate.protocol.requests import Clear, Flush, KeepAlive, Request, Start, Stop, TurnOptions, VadOptions

__all__ = [
    "AudioFormat",
    "ContainerFormat",
    "Format",
    "MediaFormat",
    "COMPANDED",
    "PCM_ENCODINGS",
    "check_container",
    "check_format",
    "Clear",
    "Flush",
    "KeepAlive",
    "Request",
    "Start",
    "Stop",
    "TurnOptions",
    "VadOptions",
    "Active",
    "Data",
    "Draining",
    "Error",
    "Event",
    "Finished",
    "Flushed",
    "Inactive",
    "Probabilities",
    "Progress",
    "Segment",
    "SpeechResumed",
    "Started",
    "UnknownEvent",
    "encode_event",
    "encode_request",
    "parse_event",
    "parse_request",
]
