"""How the outcome of a job crosses from a worker process to the server: ``[kind, value]`` in MessagePack."""

from __future__ import annotations

import logging
from typing import Any, Literal

import msgspec
from msgspec import Raw

from voxgate.errors import InferenceError, InternalError, VoxgateError, text_of
from voxgate.inference.engine.base import JobOutcome
from voxgate.inference.engine.processes.channel import plain

__all__ = ["decode_outcome", "encode_outcome"]

logger = logging.getLogger("voxgate.inference.engine")

_RESULT, _REFUSED, _FAILED = 0, 1, 2
_encoder = msgspec.msgpack.Encoder(enc_hook=plain)
_decoder: msgspec.msgpack.Decoder[tuple[Literal[0, 1, 2], Any]] = msgspec.msgpack.Decoder(tuple[Literal[0, 1, 2], Any])


def encode_outcome(outcome: JobOutcome) -> Raw:
    """Never raises: a result that MessagePack cannot encode becomes an internal error, and is logged. Any thread."""
    if isinstance(outcome, VoxgateError):
        kind = _REFUSED if isinstance(outcome, InferenceError) else _FAILED
        return Raw(_encoder.encode((kind, str(outcome))))
    try:
        return Raw(_encoder.encode((_RESULT, outcome)))
    except BaseException as error:  # The encoder calls methods of the model's own classes, which may raise anything.
        logger.error("a model's result cannot leave its worker process: %s", text_of(error))
        return Raw(_encoder.encode((_FAILED, str(InternalError()))))


def decode_outcome(raw: Raw) -> JobOutcome:
    """The reverse of `encode_outcome`. Never raises: an invalid outcome becomes an internal error, and is logged. Any
    thread.
    """
    try:
        kind, value = _decoder.decode(raw)
        if kind == _RESULT and (value is None or isinstance(value, dict)):
            return value
        if kind == _REFUSED:
            return InferenceError(value)
        if kind == _FAILED:
            return InternalError(value)
    except Exception as error:
        logger.error("the result of a worker process cannot be read: %s", error)
    return InternalError()
