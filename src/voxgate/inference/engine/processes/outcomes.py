"""How the outcome of a job crosses from a worker process to the server: a result as the bytes that clients get."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from voxgate.errors import InferenceError, InternalError, VoxgateError
from voxgate.inference.engine.base import JobOutcome
from voxgate.protocol.output import Output
from voxgate.protocol.transcript import Transcript

__all__ = ["FailedCall", "RefusedCall", "SentOutcome", "SentResult", "decode_outcome", "encode_outcome"]


class SentResult(Struct, frozen=True, array_like=True, tag="result"):
    """The fields of an Output."""

    json: bytes
    transcript: Transcript | None
    session_keys: list[str]


class RefusedCall(Struct, frozen=True, array_like=True, tag="refused"):
    """An InferenceError."""

    text: str


class FailedCall(Struct, frozen=True, array_like=True, tag="failed"):
    """Any other error."""

    text: str


SentOutcome: TypeAlias = SentResult | RefusedCall | FailedCall | None


def encode_outcome(outcome: JobOutcome) -> SentOutcome:
    """Any thread."""
    if isinstance(outcome, VoxgateError):
        return (RefusedCall if isinstance(outcome, InferenceError) else FailedCall)(str(outcome))
    return None if outcome is None else SentResult(outcome.json, outcome.transcript, list(outcome.session_keys))


def decode_outcome(sent: SentOutcome) -> JobOutcome:
    """The reverse of `encode_outcome`. Any thread."""
    match sent:
        case SentResult(json, transcript, session_keys):
            return Output(json, transcript, frozenset(session_keys))
        case RefusedCall(text):
            return InferenceError(text)
        case FailedCall(text):
            return InternalError(text)
    return None
