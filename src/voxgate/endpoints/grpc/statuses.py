"""gRPC statuses for refusals and closes, with details that programs can read (google.rpc, in the trailer of a call)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from voxgate.protocol.closing import Close, CloseReason
from voxgate.service.admission import Refusal, RefusalKind

__all__ = ["Status", "status_of_close", "status_of_refusal"]

DOMAIN: Final = "voxgate"
"""Of the reasons in `ErrorInfo`."""

PUSHBACK: Final = "grpc-retry-pushback-ms"
"""The metadata by which a server tells clients with a retry policy when to come back."""

CODES: Final[Mapping[CloseReason, grpc.StatusCode]] = {
    CloseReason.COMPLETED: grpc.StatusCode.OK,
    CloseReason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    CloseReason.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    CloseReason.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    CloseReason.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    CloseReason.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CloseReason.INTERNAL: grpc.StatusCode.INTERNAL,
    CloseReason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

MAX_TEXT_BYTES: Final = 1000
"""Of a status. The metadata holds the text up to three times, percent-encoded once, and clients accept 8 KiB of it."""

_KINDS: Final[Mapping[RefusalKind, grpc.StatusCode]] = {
    RefusalKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    RefusalKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    RefusalKind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    RefusalKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    RefusalKind.MISDIRECTED: grpc.StatusCode.PERMISSION_DENIED,
    RefusalKind.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    RefusalKind.NOT_SERVED: grpc.StatusCode.UNIMPLEMENTED,
    RefusalKind.UNAVAILABLE: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_NOT_THERE: Final = ("not_ready", "draining", "auth_unavailable")
"""The reasons of an UNAVAILABLE refusal that are no matter of load."""

_FIELD: Final = re.compile(r"([a-z_]+(?:\.[a-z_0-9]+)+)(?= )|([a-z_]+(?:\.[a-z_0-9]+)*)(?=:| must )")
"""At the beginning of an error about a message: the field that is wrong."""


class Status(NamedTuple):
    """The end of a call."""

    code: grpc.StatusCode
    text: str = ""
    metadata: tuple[tuple[str, str | bytes], ...] = ()

    def send(self, context: Any) -> None:
        """The handler of the call has to return next."""
        context.set_code(self.code)
        context.set_details(self.text)
        context.set_trailing_metadata(self.metadata)


def status_of_refusal(refusal: Refusal) -> Status:
    """That of a client that is not accepted."""
    code = _KINDS[refusal.kind]
    if refusal.kind is RefusalKind.UNAVAILABLE and refusal.reason in _NOT_THERE:
        code = grpc.StatusCode.UNAVAILABLE
    return _status(code, refusal.text, refusal.reason, refusal.retry_after_s)


def status_of_close(close: Close, error: str = "") -> Status:
    """That of a stream which the server ends. `error`: the text of the last error that its client got."""
    code = CODES[close.reason]
    if code is grpc.StatusCode.OK:
        return Status(code)
    if close.reason is CloseReason.DRAINING:
        return _status(code, "the server shuts down: try again", close.reason, 1)
    text = error or close.text or f"the server ended the stream: {close.reason}"
    return _status(code, text, close.limit or close.reason)


def _status(code: grpc.StatusCode, text: str, reason: str, retry_after_s: int | None = None) -> Status:
    text = text.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
    details = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)]
    metadata: list[tuple[str, str | bytes]] = []
    if retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(retry_after_s)
        details.append(retry)
        metadata.append((PUSHBACK, str(1000 * retry_after_s)))
    if code is grpc.StatusCode.INVALID_ARGUMENT and (field := _FIELD.match(text)):
        violation = error_details_pb2.BadRequest.FieldViolation(field=field[0], description=text)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(code=getattr(code_pb2, code.name), message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    rich = rpc_status.to_status(status)
    return Status(code, text, (*rich.trailing_metadata, *metadata))
