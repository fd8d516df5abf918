"""The options of a start in a query: `sample_rate=8000&interim_results=true&vad.threshold=0.6`."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from voxgate.errors import MAX_SHOWN_CHARACTERS, InvalidStart, shown
from voxgate.protocol.formats import AUTO, COMPANDED, PCM_ENCODINGS, AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start, TurnOptions, VadOptions

__all__ = ["says_no_format", "start_of"]

MAX_OPTIONS: Final = 100

DEFAULT_RATE: Final = 16_000

_FORMAT: Final = ("sample_rate", "channels", "encoding", "bit_depth", "is_float")
# Of a body of which nothing is known: curl's own, too.
_NO_TYPES: Final = re.compile(r"\s*(application/(octet-stream|x-www-form-urlencoded)\s*(;|$)|$)", re.ASCII)
# Of a body whose type names a container; "audio/pcm" and unknown ones are raw samples.
_CONTAINER_TYPES: Final = re.compile(
    r"\s*(audio|video)/(x-)?(wav|wave|webm|ogg|opus|flac|mpeg|mp3|mp4|m4a|aac|aacp)\s*(;|$)", re.ASCII
)
_GROUPS: Final = ("vad", "turn", "option")
_NAMES: Final = {"vad": VadOptions.__struct_fields__, "turn": TurnOptions.__struct_fields__}
# Of a start, but not for a query: a proxy logs it, and the trace has its own header.
_HEADERS: Final = {"token": "Authorization: Bearer TOKEN", "trace_id": "traceparent"}
_START: Final = tuple(
    name for name in Start.__struct_fields__ if name not in ("format", "vad", "turn", "options", *_HEADERS)
)
_FORMS: Final = {name: form for form, name in PCM_ENCODINGS.items()}
_PROBLEM: Final = re.compile(r"Expected `(.+?)`.*? - at `\$\.(.+)`", re.DOTALL)


class _PcmStart(Start, frozen=True, tag="start"):
    format: AudioFormat


class _ContainerStart(Start, frozen=True, tag="start"):
    format: ContainerFormat


def says_no_format(query: bytes, content_type: str) -> bool:
    """Whether neither the query of a request nor its type tells what its body is."""
    names = {name for name, _ in parse_qsl(query.decode(errors="replace"), keep_blank_values=True)}
    return names.isdisjoint(("container", *_FORMAT)) and _NO_TYPES.match(content_type.lower()) is not None


def start_of(query: bytes, content_type: str = "") -> Start:
    """The start that the query of a request describes. Without a format it is the container that `content_type` names,
    otherwise s16, mono, at 16 kHz.

    `encoding` is one of u8, s16, s24, s32, f32, f64, mulaw and alaw; `bit_depth` and `is_float` describe linear samples
    as the native wire does; `container` is as on the native wire, `auto` above all; `option.NAME` is an option of the
    model. Raises InvalidStart, which names the option, for one that is unknown, comes twice, or has a value of another
    type; ranges are checked later, like those of any start.
    """
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, max_num_fields=MAX_OPTIONS, errors="strict")
    except UnicodeDecodeError:
        raise InvalidStart("query: expected UTF-8, got bytes that are not UTF-8") from None
    except ValueError:
        raise InvalidStart(f"query: expected at most {MAX_OPTIONS} options") from None
    fields: dict[str, Any] = {"request": "start"}
    form: dict[str, str] = {}
    groups: dict[str, dict[str, str]] = {group: {} for group in _GROUPS}
    for name, value in pairs:
        group, _, key = name.partition(".")
        options: dict[str, Any]
        if name in _FORMAT or name == "container":
            options, key = form, name
        elif name in _START:
            options, key = fields, name
        elif group in _GROUPS and key and key in _NAMES.get(group, (key,)):
            options = groups[group]
        else:
            raise InvalidStart(_unknown(name))
        if key in options:
            raise InvalidStart(f"{name}: expected once, got several")
        options[key] = value
    if not form and _CONTAINER_TYPES.match(content_type.lower()):
        form["container"] = AUTO
    fields["format"] = _format(form)
    fields |= {group: groups[group] for group in _NAMES if groups[group]}
    if groups["option"]:
        fields["options"] = {name: _value(text) for name, text in groups["option"].items()}
    try:
        start = msgspec.convert(fields, _ContainerStart if "container" in form else _PcmStart, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidStart(_explain(str(error), fields)) from None
    return Start(*(getattr(start, name) for name in Start.__struct_fields__))


def _format(form: dict[str, str]) -> dict[str, Any]:
    if "container" in form:
        if len(form) > 1:
            others = ", ".join(name for name in form if name != "container")
            raise InvalidStart(f"container: the stream itself says its format, expected no {others} beside it")
        return dict(form)
    encoding = form.get("encoding", "s16" if "bit_depth" not in form and "is_float" not in form else None)
    fields: dict[str, Any] = {"channels": 1, "sample_rate": DEFAULT_RATE, "bit_depth": 16, "is_float": False, **form}
    if encoding is None:
        return fields
    if encoding in COMPANDED:
        return {**fields, "bit_depth": form.get("bit_depth", 8)}
    if encoding not in _FORMS:
        raise InvalidStart(f"encoding must be one of {', '.join((*_FORMS, *COMPANDED))}, got {shown(encoding)}")
    bit_depth, is_float = _FORMS[encoding]
    given = {name: form[name] for name in ("bit_depth", "is_float") if name in form}
    if given:
        raise InvalidStart(f"encoding {encoding} has a bit depth: expected no {' and no '.join(given)} beside it")
    return {**fields, "encoding": None, "bit_depth": bit_depth, "is_float": is_float}


def _value(text: str) -> Any:
    """A number, true, false or null as in JSON; anything else is a text."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return text if isinstance(value, list | dict) else value


def _unknown(name: str) -> str:
    if name in _HEADERS:
        return f"{name}: expected in the header {_HEADERS[name]}, not in the query"
    known = (
        *_FORMAT,
        "container",
        *_START,
        *(f"{group}.{option}" for group, names in _NAMES.items() for option in names),
        "option.NAME",
    )
    return f"query: expected options among {', '.join(known)}, got {shown(name)}"


def _explain(problem: str, fields: dict[str, Any]) -> str:
    found = _PROBLEM.match(problem)
    if found is None:
        return f"query: {problem[:MAX_SHOWN_CHARACTERS]}"
    path = found[2].split(".")
    value: Any = fields
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    expected = found[1].removesuffix(" | null").replace(" | ", " or ")
    return f"{'.'.join(path[1:] if path[0] == 'format' else path)}: expected {expected}, got {shown(value)}"
