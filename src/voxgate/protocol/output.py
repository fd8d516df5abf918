"""A model's result as the server keeps it: encoded once, on the worker, and never changed after."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import force_setattr

from voxgate.errors import shown, text_of
from voxgate.protocol.transcript import TEXT_KEYS, Transcript

__all__ = ["RESERVED_KEYS", "SESSION_KEYS", "Output", "UnsendableOutput"]

RESERVED_KEYS: Final = frozenset({"type", "channel", "start_time", "end_time", "is_final"})
"""The keys of an event: no result may use them."""

SESSION_KEYS: Final = frozenset({"segment_id", "stable_text", "eager", "turn_probability"})
"""Keys of an event in the sessions that asked for them: only there, no result may use them."""

_PIECE_VALUES = 4096
"""Of a large result, encoded in one go: half a millisecond."""

_NO_KEYS: Final[frozenset[str]] = frozenset()

_SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes})

_TRANSCRIPT_KEYS: Final = frozenset({*TEXT_KEYS, "words"})


class UnsendableOutput(ValueError):
    """A result that cannot be sent to a client. The text names the key, and a type, but never the value."""


class Output(Mapping[str, Any]):
    """The result of one model call. Reading it as a mapping gives plain data, decoded from :attr:`json` at the first
    access; it equals any mapping with the same items. It holds nothing that the model could still change, so any thread
    may read it.
    """

    # `__dict__` holds the decoded data, once somebody asks for it.
    __slots__ = ("__dict__", "json", "session_keys", "transcript")

    json: bytes
    """The members of the JSON object, without its braces; empty when the result has none."""
    transcript: Transcript | None
    """The text and the words of the result; None: it holds neither."""
    session_keys: frozenset[str]
    """Those of `SESSION_KEYS` that the result uses."""

    def __init__(
        self, json: bytes, transcript: Transcript | None = None, session_keys: frozenset[str] = frozenset()
    ) -> None:
        """For a result that was encoded before; see :meth:`of`."""
        self.json = json
        self.transcript = transcript
        self.session_keys = session_keys

    @classmethod
    def of(cls, result: object) -> Output:
        """Validates, encodes and detaches a mapping with string keys, a msgspec Struct or a dataclass. Any thread.

        Its values may be NumPy scalars and arrays (anything with ``tolist``); non-finite floats become null. Raises
        UnsendableOutput for a key of `RESERVED_KEYS`, a key that is no string, or a value without a JSON form.
        """
        if type(result) is not dict and not isinstance(result, Mapping):
            return cls._of_object(result)
        items = dict(result)
        for key in items:
            if not isinstance(key, str):
                raise UnsendableOutput(f"expected a result with string keys, but a key is of type {_type_of(key)}")
        if not RESERVED_KEYS.isdisjoint(items):
            raise _reserved(items)
        try:
            json = _members(items)
        except Exception as error:
            raise UnsendableOutput(_blame(items)) from error
        used = _NO_KEYS if SESSION_KEYS.isdisjoint(items) else SESSION_KEYS.intersection(items)
        return cls(json, _transcript(items), used)

    @classmethod
    def _of_object(cls, result: object) -> Output:
        if not isinstance(result, Struct) and (isinstance(result, type) or not dataclasses.is_dataclass(result)):
            raise UnsendableOutput(
                "expected a mapping with string keys, a msgspec Struct, a dataclass, a str or None, not an object of"
                f" type {_type_of(result)}"
            )
        try:
            # The encoder knows the names, the tags and the defaults of the class.
            members = _raw_decoder.decode(_encoder.encode(_without_large_lists(result)))
        except Exception as error:
            raise UnsendableOutput(f"{_type_of(result)} cannot be sent as a JSON object: {_text(error)}") from error
        return cls.of(members)

    @cached_property
    def _data(self) -> dict[str, Any]:
        data: dict[str, Any] = msgspec.json.decode(b"{%b}" % self.json)
        return data

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return bool(self.json)

    def __repr__(self) -> str:
        return f"Output({self._data!r})"


# --- large results ---
#
# The encoder keeps the GIL: a call of half a second would hold the event loop. So what is large is encoded in pieces,
# and the GIL may change hands between them.


def _members(items: dict[str, Any]) -> bytes:
    """The members of an object, without its braces."""
    for value in items.values():
        if type(value) not in _SCALARS and _n_values(value) > _PIECE_VALUES:
            out = io.BytesIO()  # It grows without copying, and so does not hold the GIL for long either.
            _write_members(out, items)
            return out.getvalue()
    return _encoder.encode(items)[1:-1]


def _plain(value: Any) -> Any:
    """For the encoder: the plain form of an object with ``tolist``, wherever in a result it is."""
    if _n_values(value) > _PIECE_VALUES:
        return _in_pieces(value)
    tolist = getattr(value, "tolist", None)
    plain = tolist() if callable(tolist) else value
    if type(plain) is type(value):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return plain


def _without_large_lists(result: Any) -> Any:
    """A Struct or a dataclass, or a copy of it whose large lists are encoded. (Of large arrays the encoder itself asks
    the form.)
    """
    is_struct = isinstance(result, Struct)
    names = result.__struct_fields__ if is_struct else [field.name for field in dataclasses.fields(result)]
    changed = result
    for name in names:
        value = getattr(result, name, None)
        if isinstance(value, list | tuple | dict) and _n_values(value) > _PIECE_VALUES:
            changed = copy.copy(result) if changed is result else changed
            # Both also change what is frozen.
            (force_setattr if is_struct else object.__setattr__)(changed, name, _in_pieces(value))
    return changed


def _n_values(value: Any) -> int:
    """About how many values a part of a result has: the items of a list count like its first one."""
    if isinstance(value, list | tuple):
        return len(value) * _n_values(value[0]) if value else 0
    if isinstance(value, dict):
        return sum(map(_n_values, value.values()))
    if type(value) in _SCALARS or not hasattr(value, "tolist"):
        return 1
    shape = getattr(value, "shape", ())
    return math.prod(shape) if isinstance(shape, tuple) else 1


def _in_pieces(value: Any) -> Raw:
    out = io.BytesIO()
    _write(out, value)
    return Raw(out.getvalue())


def _write(out: io.BytesIO, value: Any) -> None:
    n_values = _n_values(value)
    if n_values <= _PIECE_VALUES:
        out.write(_encoder.encode(value))
    elif isinstance(value, dict):
        out.write(b"{")
        _write_members(out, value)
        out.write(b"}")
    else:
        _write_items(out, value, n_values)


def _write_members(out: io.BytesIO, items: dict[Any, Any]) -> None:
    for n_before, (key, value) in enumerate(items.items()):
        out.write(b"," if n_before else b"")
        out.write(_encoder.encode({key: None})[1:-5])  # without the braces and the null
        _write(out, value)


def _write_items(out: io.BytesIO, values: Any, n_values: int) -> None:
    n_items = len(values)
    n_rows = max(1, _PIECE_VALUES * n_items // n_values)
    for start in range(0, n_items, n_rows):
        out.write(b"," if start else b"[")
        if n_rows == 1:
            _write(out, values[start])
        else:
            out.write(_encoder.encode(values[start : start + n_rows])[1:-1])
    out.write(b"]")


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain)
_raw_decoder: Final = msgspec.json.Decoder(dict[str, Raw])


def _type_of(value: object) -> str:
    return repr(type(value).__qualname__)


def _reserved(items: Mapping[str, Any]) -> UnsendableOutput:
    return UnsendableOutput(f'the key "{next(key for key in items if key in RESERVED_KEYS)}" of the result is reserved')


def _blame(items: Mapping[str, Any]) -> str:
    for key, value in items.items():
        try:
            _encoder.encode({key: value})
        except Exception as error:
            return f"the key {shown(key)} of the result cannot be sent as JSON: {_text(error)}"
    return "the result cannot be sent as JSON"


def _text(error: BaseException) -> str:
    """Never holds a value: the encoder's own texts name types, and other exceptions come from the model's classes."""
    if isinstance(error, TypeError | RecursionError | msgspec.MsgspecError):
        return text_of(error)
    return "it contains text that UTF-8 cannot encode" if isinstance(error, UnicodeError) else type(error).__name__


def _transcript(items: Mapping[str, Any]) -> Transcript | None:
    if _TRANSCRIPT_KEYS.isdisjoint(items):
        return None
    text = items.get("text")
    if type(text) is str and "words" not in items:  # the common case, made fast
        return Transcript(text)
    found = {key: items[key] for key in _TRANSCRIPT_KEYS if key in items}
    return Transcript.of(msgspec.json.decode(_encoder.encode(found)))
