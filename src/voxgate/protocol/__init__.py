"""What clients and servers say to each other: audio formats, requests and events, and their JSON.

None of it belongs to a wire but :mod:`.json_codec`, the JSON of the native one. :mod:`.machine` is the session
machine.
"""

from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Event,
    Finished,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    Started,
    UnknownEvent,
)
from voxgate.protocol.formats import COMPANDED, PCM_ENCODINGS, AudioFormat, check_format
from voxgate.protocol.json_codec import check_output, encode_event, encode_request, parse_event, parse_request
from voxgate.protocol.requests import Flush, KeepAlive, Request, Start, Stop, VadOptions

__all__ = [
    "AudioFormat",
    "COMPANDED",
    "PCM_ENCODINGS",
    "check_format",
    "Flush",
    "KeepAlive",
    "Request",
    "Start",
    "Stop",
    "VadOptions",
    "Active",
    "Data",
    "Draining",
    "Error",
    "Event",
    "Finished",
    "Inactive",
    "Probabilities",
    "Progress",
    "Segment",
    "Started",
    "UnknownEvent",
    "check_output",
    "encode_event",
    "encode_request",
    "parse_event",
    "parse_request",
]
