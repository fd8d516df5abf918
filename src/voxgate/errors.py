"""One hierarchy of errors. Every error knows its wire code and its close code.

The text of an error is meant for whoever caused it: it says what was expected and what came, and never holds a
credential, a stack or a path of the server. What may be told to the client is told by :attr:`VoxgateError.code` and
``str(error)``; whether the connection survives is told by :attr:`VoxgateError.close_code`.
"""

from __future__ import annotations

import json
from typing import ClassVar, Final

__all__ = [
    "ConfigError",
    "InferenceError",
    "InternalError",
    "InvalidMessage",
    "InvalidStart",
    "ModelLoadError",
    "NotStarted",
    "Overloaded",
    "StreamTimeout",
    "Unauthorized",
    "VoxgateError",
    "WeightsError",
]

MAX_SHOWN_CHARACTERS: Final = 80
"""The longest quotation of a value in an error."""


class VoxgateError(Exception):
    """Base of everything Voxgate raises on purpose."""

    code: ClassVar[str] = "internal"
    """The ``code`` of the error event."""

    close_code: ClassVar[int | None] = None
    """The websocket close code that follows the event; None when the connection stays."""


class InvalidMessage(VoxgateError):
    """A text message that is no valid JSON, no known request, or has a wrong or missing field. The connection stays."""

    code = "invalid_message"


class NotStarted(VoxgateError):
    """Audio, stop or flush before any start. The connection stays."""

    code = "not_started"


class InvalidStart(VoxgateError):
    """A start whose format is not supported or whose option is out of range. No session opens; the connection stays."""

    code = "invalid_start"


class StreamTimeout(VoxgateError):
    """No start, no message or no end within its time. The connection closes with 1008."""

    code = "timeout"
    close_code = 1008


class Unauthorized(VoxgateError):
    """No token, or a bad one, where it was due in the first start. The connection closes with 1008."""

    code = "unauthorized"
    close_code = 1008


class Overloaded(VoxgateError):
    """The server has too much to do for this stream, or for this call. The connection closes with 1013, except when a
    single call found no room in the queue: then the error stands in place of its result and the stream goes on.
    """

    code = "overloaded"
    close_code = 1013


class InferenceError(VoxgateError):
    """Raised by a model: its text goes to the client in place of the result, and the stream goes on."""

    code = "inference_failed"


class InternalError(VoxgateError):
    """A bug of ours or of a model. The stack belongs in the log, not on the wire. The connection closes with 1011,
    except when a single inference failed: then the error stands in place of its result and the stream goes on.
    """

    code = "internal"
    close_code = 1011

    def __init__(self, text: str = "Internal server error") -> None:
        super().__init__(text)


class ConfigError(VoxgateError):
    """A setting that is unknown, malformed or out of range. Never on the wire."""


class ModelLoadError(ConfigError):
    """A model that cannot be found, imported or constructed. Never on the wire."""


class WeightsError(ConfigError):
    """Detector weights that are missing, damaged or of the wrong kind. Never on the wire."""


def text_of(error: BaseException) -> str:
    """What `str(error)` says, as it can be encoded in UTF-8. Never raises: the class may be a model's own, and then its
    `__str__` may fail, or say what no text may hold.
    """
    try:
        return str(error).encode("utf-8", "replace").decode()
    except BaseException:
        return f"(str() of {type(error).__qualname__} failed)"


def shown(value: object) -> str:
    """A value as JSON, cut to what an error may quote."""
    if isinstance(value, int) and abs(value) >= 10**MAX_SHOWN_CHARACTERS:
        return f"an integer of {value.bit_length()} bits"  # str() of a huge int is slow, and refused beyond a limit
    if isinstance(value, str):
        value = value[: MAX_SHOWN_CHARACTERS + 1].encode("utf-8", "replace").decode()
    text = json.dumps(value, ensure_ascii=False, default=repr)
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return text[: MAX_SHOWN_CHARACTERS - 2] + ('…"' if isinstance(value, str) else "…")
