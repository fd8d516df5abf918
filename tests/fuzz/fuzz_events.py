"""parse_event: an event or an InvalidMessage; and what an event says comes back when it is sent on."""

from __future__ import annotations

import json

from fuzz.source import Source
from voxgate.errors import InternalError, InvalidMessage
from voxgate.protocol.events import UnknownEvent
from voxgate.protocol.json_codec import encode_event, parse_event

TYPES = ("active", "inactive", "error", "segment", "data", "started", "progress", "finished", "draining", "other")
NUMBERS = ("time", "start_time", "end_time", "received_s", "processed_s", "lag_s", "real_time_factor", "grace_s")


def fuzz(data: bytes) -> None:
    source = Source(data)
    text: bytes | str
    if source.integer(0, 3) == 0:
        text = source.rest()
    else:
        fields = {"type": json.dumps(source.pick(TYPES)), "channel": "0", "message": source.json_text(), "code": '""'}
        fields |= {name: "1.5" for name in NUMBERS}
        fields |= {"results": "3", "errors": "0", "session_id": '"9f"', "model": '"m"', "limits": '{"channels":8}'}
        if source.flag():
            fields["is_final"] = "true"
        text = source.json_object(fields)
    try:
        event = parse_event(text)
    except InvalidMessage as error:
        assert str(error)
        return
    if isinstance(event, UnknownEvent):
        return  # it is never sent on
    try:
        sent = encode_event(event)
    except InternalError:
        return  # an output that JSON can say in a way we cannot: an integer of 70 bits
    # Rounded once, and then for good.
    assert encode_event(parse_event(sent)) == sent


SEEDS = [
    b'\x00{"type":"segment","start_time":0.3,"end_time":0.8,"is_final":false,"count":8000,"channel":0}',
    b'\x00{"type":"error","message":"no","code":"timeout","channel":0}',
    b"\x01" + bytes(range(200)),
]
