"""The errors of the client. Every text says what was attempted and what happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxgate.errors import VoxgateError

if TYPE_CHECKING:
    from voxgate.protocol.events import Event

__all__ = [
    "BadEvent",
    "ClientError",
    "ClosedError",
    "ConnectError",
    "MissingResults",
    "RefusedError",
    "RejectedError",
    "SilentServer",
    "SourceError",
]


class ClientError(VoxgateError):
    """Base of the client's own errors. Wrong arguments raise ValueError or TypeError."""

    events: tuple[Event, ...] = ()
    """The events before the error, in order: all of them from `collect`; the last ones, up to 16 MiB of JSON, from
    `stream` and `stream_blocking`, whose memory is bounded.
    """


class SourceError(ClientError):
    """The audio cannot be read. (A missing file raises FileNotFoundError.)"""


class ConnectError(ClientError):
    """The websocket cannot be opened: no server listens, the name is unknown, or the server is no websocket server."""


class RefusedError(ConnectError):
    """The server answered the upgrade with an HTTP status other than 101.

    `status` and `body` are as received (the body cut to 1000 characters); `retry_after` is the header of that name.
    Over gRPC, `status` is what HTTP would say for the status `grpc_status`, and `body` the text of the error.
    """

    def __init__(self, status: int, body: str, retry_after: str | None = None, grpc_status: str | None = None) -> None:
        self.status = status
        self.grpc_status = grpc_status
        self.body = body[:1000]
        self.retry_after = retry_after
        text = f"the server refused with {f'HTTP {status}' if grpc_status is None else grpc_status}"
        if reason := _reason(body):
            text += f": {reason}"
        if retry_after is not None:
            text += f" (try again after {retry_after} s)"
        super().__init__(text)


def _reason(body: str) -> str:
    """The reason in the body of a refusal: its ``error`` when it is JSON with one, else the whole body."""
    try:
        reason = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        reason = None
    return (reason if isinstance(reason, str) else body).strip()[:1000]


class RejectedError(ClientError):
    """The server rejected the start message. `error_code` is the code of its error event."""

    def __init__(self, message: str, error_code: str) -> None:
        self.error_code = error_code
        super().__init__(f"the server did not accept the session: {message}")


class BadEvent(ClientError):
    """The server sent a message that is not an event of the protocol."""


class ClosedError(ClientError):
    """The connection ended before the session was complete, or with an error.

    `received_code`: the websocket close code, 1005 for a close frame without one, None without a close frame. `reason`:
    the text of the close frame. `lost`: the connection broke without a close frame from either side.
    """

    def __init__(self, text: str, received_code: int | None = None, reason: str = "", lost: bool = False) -> None:
        self.received_code = received_code
        self.reason = reason
        self.lost = lost
        super().__init__(text)


class SilentServer(ClientError):
    """No message arrived for `result_timeout_s` after everything was sent."""


class MissingResults(ClientError):
    """The server closed normally, but results are missing: `problems` lists them, one per line."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(self.problems[:5])
        if len(self.problems) > 5:
            shown += f"; and {len(self.problems) - 5} more"
        super().__init__(f"not every result arrived: {shown}")
