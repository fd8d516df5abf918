"""One hierarchy of errors. Every error has a code, and says whether it ends the stream.

The text of an error addresses the person who caused it: it says what was expected and what came, and never contains a
credential, a stack or a path of the server. A client gets :attr:`VoxgateError.code` and ``str(error)``.
"""

from __future__ import annotations

import json
from typing import ClassVar, Final

__all__ = [
    "BrokenMedia",
    "ConfigError",
    "DecoderFailed",
    "InferenceError",
    "InternalError",
    "InvalidMessage",
    "InvalidStart",
    "MediaError",
    "MediaLimit",
    "ModelLoadError",
    "NotStarted",
    "Overloaded",
    "StreamTimeout",
    "TruncatedMedia",
    "Unauthorized",
    "UnsupportedMedia",
    "VoxgateError",
    "WeightsError",
]

INTERNAL_ERROR: Final = "Internal server error"
"""The text a client gets for a bug of the server or of a model. The log has the stack."""

MAX_SHOWN_CHARACTERS: Final = 80
"""The longest quotation of a value in an error."""


class VoxgateError(Exception):
    """Base of everything Voxgate raises on purpose."""

    code: ClassVar[str] = "internal"
    """The ``code`` of the error event."""

    is_fatal: ClassVar[bool] = False
    """The stream closes after the event, with the `CloseReason` of the same code."""


class InvalidMessage(VoxgateError):
    """A text message that is not JSON, an unknown request, or has a wrong or missing field. The connection stays."""

    code = "invalid_message"


class NotStarted(VoxgateError):
    """Audio, stop or flush before any start. The connection stays."""

    code = "not_started"


class InvalidStart(VoxgateError):
    """A start whose format is not supported or whose option is out of range. No session opens; the connection stays."""

    code = "invalid_start"


class StreamTimeout(VoxgateError):
    """No start, no message or no end within its time. The connection closes."""

    code = "timeout"
    is_fatal = True


class Unauthorized(VoxgateError):
    """The first start has no token, or a bad one. The connection closes."""

    code = "unauthorized"
    is_fatal = True


class Overloaded(VoxgateError):
    """The server is too busy for this stream, or for this call. The connection closes, except when a single call found
    no room in the queue: then the error replaces its result and the stream goes on.
    """

    code = "overloaded"
    is_fatal = True


class InferenceError(VoxgateError):
    """A model raises it to refuse a call: the client gets its text in place of the result, and the stream goes on."""

    code = "inference_failed"


class InternalError(VoxgateError):
    """A bug of the server or of a model. The stack belongs in the log, not on the wire. The connection closes, except
    when a single inference failed: then the error replaces its result and the stream goes on.
    """

    code = "internal"
    is_fatal = True

    def __init__(self, text: str = INTERNAL_ERROR) -> None:
        super().__init__(text)


class MediaError(VoxgateError):
    """A container that cannot be decoded, or not any further. The session ends after the results of the audio before
    it; the connection stays, and audio is dropped until the next `start` or `stop`.
    """

    code = "invalid_media"


class BrokenMedia(MediaError):
    """The container is damaged. Results of the audio before the damage come first. The session ends; the connection
    stays.
    """

    code = "invalid_media"


class UnsupportedMedia(MediaError):
    """Not audio, or a container or codec that the server cannot decode. The text names the detected format, what is
    supported, and the missing extra. The session ends; the connection stays.
    """

    code = "unsupported_media"


class TruncatedMedia(MediaError):
    """The session stopped before the end of the container. Results of its audio come first. The session ends; the
    connection stays.
    """

    code = "truncated_media"


class MediaLimit(MediaError):
    """The container exceeds a limit, which the text names. The session ends; the connection stays."""

    code = "media_limit"


class DecoderFailed(MediaError):
    """The decoder process crashed, hung or did not start, perhaps because of another stream. The session ends; the
    connection stays.
    """

    code = "decoder_failed"


class ConfigError(VoxgateError):
    """A setting that is unknown, malformed or out of range. Never on the wire."""


class ModelLoadError(ConfigError):
    """A model that cannot be found, imported or constructed. Never on the wire."""


class WeightsError(ConfigError):
    """Detector weights that are missing, damaged or of the wrong kind. Never on the wire."""


def text_of(error: BaseException) -> str:
    """`str(error)` as text that UTF-8 can encode. Never raises: a model's own class may have a `__str__` that fails or
    returns lone surrogates.
    """
    try:
        return str(error).encode("utf-8", "replace").decode()
    except BaseException:
        return f"(str() of {type(error).__qualname__} failed)"


def shown(value: object) -> str:
    """`value` as JSON, cut to MAX_SHOWN_CHARACTERS."""
    if isinstance(value, int) and abs(value) >= 10**MAX_SHOWN_CHARACTERS:
        return f"an integer of {value.bit_length()} bits"  # str() of a huge int is slow, and refused beyond a limit
    if isinstance(value, str):
        value = value[: MAX_SHOWN_CHARACTERS + 1].encode("utf-8", "replace").decode()
    text = json.dumps(value, ensure_ascii=False, default=repr)
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return text[: MAX_SHOWN_CHARACTERS - 2] + ('…"' if isinstance(value, str) else "…")
