"""The messages as JSON Schema (draft 2020-12), from the types that parse and encode them.

What the types do not say is added here: what a field means, which values a server takes beyond its type, what a model
may put into a result. The keywords used are those that draft 07 has too, because AsyncAPI knows no later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from voxgate import errors
from voxgate.config import SETTINGS
from voxgate.errors import VoxgateError
from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Finished,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    SpeechResumed,
    Started,
)
from voxgate.protocol.formats import AUTO, COMPANDED, CONTAINERS, PCM_ENCODINGS, ContainerFormat
from voxgate.protocol.json_codec import PcmStart
from voxgate.protocol.requests import Clear, Flush, KeepAlive, Start, Stop, TurnOptions, VadOptions
from voxgate.protocol.turn_ranges import TURN_RANGES
from voxgate.protocol.vad_ranges import VAD_RANGES, VadRange

__all__ = ["EVENTS", "REQUESTS", "ROUTE_SEGMENTS", "definitions", "events", "requests"]

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
REQUESTS: Final = (Start, Stop, Flush, Clear, KeepAlive)
EVENTS: Final = (
    Segment, Data, Active, Inactive, SpeechResumed, Error, Started, Progress, Finished, Draining, Probabilities,
)  # fmt: skip

ROUTE_SEGMENTS: Final = {"simple": "Result", "segmented": "Utterance", "stateful": "Result"}
"""What a `segment` is on each route, by the name of its definition: with ``is_final``, or without."""

_SESSION_S: Final = "in seconds since the start of the session"
_ABOUT: Final[Mapping[str, str]] = {
    "request": "What is asked for.",
    "type": "What the event is.",
    "channel": "The channel that it is about, from 0; 0 for what is about the whole stream.",
    "AudioFormat.channels": "Interleaved channels. A server takes `limits.channels` of them at most, by default {}.",
    "AudioFormat.sample_rate": "Frames per second, in Hz. A server may take a narrower range.",
    "AudioFormat.bit_depth": "Bits of one sample of one channel.",
    "AudioFormat.is_float": "Whether samples are floats of -1..1.",
    "AudioFormat.encoding": "null for linear PCM, or a law of G.711.",
    "ContainerFormat.container": "Which one; auto: the server tells by the first bytes.",
    "ContainerFormat.mono": "Whether its channels are mixed to one.",
    "MediaFormat.container": "Which one it is.",
    "MediaFormat.channels": "Of the audio in it.",
    "MediaFormat.sample_rate": "Of the audio in it, as the server decodes it, in Hz.",
    "Start.format": "Of the binary messages that follow: PCM, or one container.",
    "Start.interim_results": "On the segmented route: also results while somebody is still speaking.",
    "Start.trace_id": "A W3C traceparent, to join the client's trace. One that is none is ignored.",
    "Start.vad": "Voice-activity detection of this session, where it is not to be as the server has it.",
    "Start.notices": "Also the events `started`, `progress`, `finished` and `draining`.",
    "Start.token": "Credentials, for clients that cannot set headers.",
    "Start.probabilities": "On the segmented route: also how probable speech was, frame by frame.",
    "Start.options": "What the model lets a client choose; see `options_schema` in `started`.",
    "Start.segmentation": "On the segmented route: whether segments end where speech ends, or only at a flush.",
    "Start.stability": "On the segmented route: interims that hold a text say how much of it is stable.",
    "Start.eager": "On the segmented route: a result that will be the final if the silence lasts is sent at once.",
    "Start.turn": "On the segmented route: options of the server's turn detector.",
    "TurnOptions.enabled": "Whether the detector ends segments; false: silence alone does. null: it does.",
    "Stop.disconnect": "Whether the server closes with 1000 when everything has been sent.",
    "Segment.start_time": f"Where its audio begins, {_SESSION_S}.",
    "Segment.end_time": f"Where its audio ends, {_SESSION_S}.",
    "Segment.is_final": "false: an interim, which a later event supersedes.",
    "Segment.stable_text": "Of an interim: the words that later interims repeat; only in sessions with stability.",
    "Segment.eager": "true: the final is equal to this, unless a `resumed` comes; only in sessions with eager.",
    "Segment.turn_probability": "That the speaker had finished; only in sessions with turn.",
    "SpeechResumed.time": f"Where speech went on, {_SESSION_S}.",
    "Active.time": f"Where the speech begins, {_SESSION_S}: the `start_time` of the segment.",
    "Inactive.time": f"Where the speech ends, {_SESSION_S}: the `end_time` of the final.",
    **dict.fromkeys(
        ("Active.segment_id", "Inactive.segment_id", "SpeechResumed.segment_id", "Segment.segment_id"),
        "The number of the segment, from 0 within its channel and session; only in sessions with notices.",
    ),
    "Error.segment_id": "The number of the segment whose result it stands for; only in sessions with notices.",
    "Error.message": "For people: the expected and the received value.",
    "Error.code": "For programs.",
    "Started.session_id": "The name of the session in the server's log.",
    "Started.model": "The name of the model.",
    "Started.limits": "Those of this server that concern a client, by the name of their setting.",
    "Started.format": "Of the audio in a container; missing for PCM.",
    "Started.trace_id": "Of the W3C trace that the session belongs to; missing when it belongs to none.",
    "Started.options_schema": "The JSON Schema of `options` in start; missing for a model without options.",
    "Started.turn_detector": "The name of the detector that ends turns; missing when silence alone does.",
    "Progress.received_s": "Audio received, in seconds.",
    "Progress.processed_s": "Processed audio, in seconds: answered, or found to contain no speech.",
    "Progress.lag_s": "Audio that waits for the model or is in it, in seconds.",
    "Progress.real_time_factor": "Processing time per audio time; below 1 keeps up.",
    "Finished.received_s": "Audio received, in seconds.",
    "Finished.processed_s": "Processed audio, in seconds.",
    "Finished.results": "Results sent.",
    "Finished.errors": "Errors sent.",
    "Draining.grace_s": "Time that the session has to finish, in seconds.",
    "Probabilities.start_time": f"Where the frame of the first value begins, {_SESSION_S}.",
    "Probabilities.step_s": "From one frame to the next, in seconds.",
    "Probabilities.values": "The probability of speech in each frame.",
}
_OUTPUT: Final = "Every other field is what the model returned, flattened: any names but those above, any JSON."
# What a value may be beyond its type. Numbers of events are never negative, whatever they count.
_NARROWED: Final[Mapping[str, Schema]] = {
    "Segment.is_final": {"type": "boolean"},
    **{
        f"{name}.segment_id": {"type": "integer", "minimum": 0}
        for name in ("Active", "Inactive", "SpeechResumed", "Segment", "Error")
    },
    "Segment.stable_text": {"type": "string"},
    "Segment.eager": {"const": True},
    "Segment.turn_probability": {"type": "number", "minimum": 0, "maximum": 1},
    "Started.turn_detector": {"type": "string"},
    "Started.trace_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "Started.options_schema": {"type": "object"},
    "Started.limits": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    "Probabilities.step_s": {"type": "number", "exclusiveMinimum": 0},
    "Probabilities.values": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}},
}
# The fields that are left out when there is nothing to say; the server sends all others, also those with a default.
_SOMETIMES: Final = (
    "Segment.is_final", "Segment.stable_text", "Segment.eager", "Started.trace_id", "Started.format",
    "Started.options_schema", "Started.turn_detector", "Segment.turn_probability",
    "Active.segment_id", "Inactive.segment_id", "SpeechResumed.segment_id", "Segment.segment_id", "Error.segment_id",
)  # fmt: skip


def requests() -> Schema:
    """The schema of every text message that a client may send."""
    return _document("client", "What a client sends, beside audio.", [kind.__name__ for kind in REQUESTS])


def events() -> Schema:
    """The schema of every text message that this version's server may send."""
    return _document("server", "What a server sends.", [kind.__name__ for kind in EVENTS])


def definitions(prefix: str = "#/$defs/") -> dict[str, Schema]:
    """The schema of every message and of its parts, by the name of its type; they refer to each other under `prefix`.

    Beside the types: ``Result`` and ``Utterance``, the two forms that a ``Segment`` has on the routes.
    """
    # msgspec knows no union of two structs without tags: a start is described with PCM, and gets the other one later.
    kinds = [PcmStart if kind is Start else kind for kind in REQUESTS]
    _, parts = msgspec.json.schema_components([*kinds, ContainerFormat, *EVENTS], ref_template=prefix + "{name}")
    parts = {"Start" if name == "PcmStart" else name: part for name, part in parts.items()}
    parts["Start"] = {**parts["Start"], "title": "Start", "description": Start.__doc__}
    found = {name: _described(name, part) for name, part in parts.items()}
    _narrow_format(found["AudioFormat"])
    found["ContainerFormat"]["properties"]["container"]["enum"] = [AUTO, *CONTAINERS]
    form = found["Start"]["properties"]["format"]
    found["Start"]["properties"]["format"] = {
        "anyOf": [{"$ref": f"{prefix}AudioFormat"}, {"$ref": f"{prefix}ContainerFormat"}],
        "description": form["description"],
    }
    _narrow_options(found["VadOptions"], VadOptions, VAD_RANGES)
    _narrow_options(found["TurnOptions"], TurnOptions, TURN_RANGES)
    for request in REQUESTS:
        found[request.__name__]["properties"]["request"] = {
            "const": request.__struct_config__.tag,
            "description": _ABOUT["request"],
        }
    for event in EVENTS:
        found[event.__name__] = _event(event, found[event.__name__])
    about = _ABOUT["Started.format"]
    found["Started"]["properties"]["format"] = {"$ref": f"{prefix}MediaFormat", "description": about}
    found["Error"]["properties"]["code"]["enum"] = _error_codes()
    segment = found["Segment"]
    found["Utterance"] = {
        **segment,
        "title": "Utterance",
        "description": "A segment of the segmented route: an utterance, or so much of it as has been heard.",
        "required": [*segment["required"], "is_final"],
    }
    found["Result"] = {
        **segment,
        "title": "Result",
        "description": "A segment of the simple and the stateful route: the answer to a stretch of audio.",
        "properties": {name: value for name, value in segment["properties"].items() if name != "is_final"},
        "not": {"required": ["is_final"]},
    }
    return found


def _document(side: str, about: str, names: list[str]) -> Schema:
    parts = definitions()
    needed = dict.fromkeys(names)
    for name in names:
        if name == "Start":
            needed |= dict.fromkeys(("AudioFormat", "ContainerFormat", "VadOptions", "TurnOptions"))
        if name == "Started":
            needed |= dict.fromkeys(("MediaFormat",))
    return {
        "$schema": DIALECT,
        "$id": f"urn:voxgate:protocol:1:{side}",
        "title": f"Voxgate, protocol version 1: {side} messages",
        "description": f"{about} docs/protocol.md says what it means, and what a schema cannot say.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in names],
        "$defs": {name: parts[name] for name in needed},
    }


def _described(name: str, part: Schema) -> Schema:
    """`part`, with the first sentence of the type's docstring, and a text for each field."""
    first, _, _ = " ".join(part["description"].split()).partition(". ")
    described = {**part, "description": first.rstrip(".").replace("``", "`") + "."}
    described["properties"] = {
        field: {**value, "description": _about(name, field)} for field, value in part["properties"].items()
        if f"{name}.{field}" not in _FLATTENED
    }  # fmt: skip
    return described


_FLATTENED: Final = ("Segment.output", "Data.output")


def _about(name: str, field: str) -> str:
    if name == "VadOptions":
        return f"{SETTINGS[f'vad.{field}'].description.replace('`', '')} null: as the server has it."
    if name == "TurnOptions" and field in TURN_RANGES:
        return f"{SETTINGS[f'turn.{field}'].description.replace('`', '')} null: as the server has it."
    if field in ("request", "channel"):
        return _ABOUT[field]
    return _ABOUT[f"{name}.{field}"].format(SETTINGS["limits.channels"].default)


def _event(kind: Any, part: Schema) -> Schema:
    name = kind.__name__
    fields: dict[str, Schema] = {"type": {"const": kind.type, "description": _ABOUT["type"]}}
    for field, value in part["properties"].items():
        value = {key: entry for key, entry in value.items() if key != "default"}
        narrowed = _NARROWED.get(f"{name}.{field}")
        if narrowed is not None:
            value = {**narrowed, "description": value["description"]}
        elif value.get("type") in ("number", "integer"):
            value["minimum"] = 0
        fields[field] = value
    event: Schema = {
        "title": name,
        "description": part["description"],
        "type": "object",
        "properties": fields,
        "required": [field for field in fields if f"{name}.{field}" not in _SOMETIMES],
    }
    if f"{name}.output" in _FLATTENED:
        event["description"] += " " + _OUTPUT
        event["additionalProperties"] = True
    return event


def _narrow_format(part: Schema) -> None:
    fields = part["properties"]
    fields["channels"] |= {"minimum": 1, "maximum": SETTINGS["limits.channels"].maximum}
    lowest, highest = SETTINGS["limits.min_sample_rate"], SETTINGS["limits.max_sample_rate"]
    fields["sample_rate"] |= {"minimum": lowest.minimum, "maximum": highest.maximum}
    fields["encoding"] = {
        "enum": [None, *COMPANDED],
        "default": None,
        "description": fields["encoding"]["description"],
    }
    linear = [
        {"properties": {"bit_depth": {"const": bits}, "is_float": {"const": is_float}, "encoding": {"const": None}}}
        for bits, is_float in PCM_ENCODINGS
    ]
    companded = {
        "properties": {
            "bit_depth": {"const": 8},
            "is_float": {"const": False},
            "encoding": {"enum": list(COMPANDED)},
        },
        "required": ["encoding"],
    }
    part["oneOf"] = [*linear, companded]


def _narrow_options(part: Schema, kind: type[msgspec.Struct], ranges: Mapping[str, VadRange]) -> None:
    for field in kind.__struct_fields__:
        if field not in ranges:
            continue
        allowed = ranges[field]
        value = part["properties"][field]
        number, _null = value["anyOf"]
        value["anyOf"] = [{**number, "minimum": allowed.lowest, "maximum": allowed.highest}, {"type": "null"}]


def _error_codes() -> list[str]:
    """Of the errors that reach a client."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    never = errors.ConfigError
    return sorted({kind.code for kind in kinds if issubclass(kind, VoxgateError) and not issubclass(kind, never)})
