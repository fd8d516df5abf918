"""What can go wrong for a client. Every text says what was tried and what came, in words for a person."""

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
    """Base of everything the client raises on purpose, but for ValueError and TypeError about its arguments."""

    events: tuple[Event, ...] = ()
    """The events that the caller got before the error, in order: from `collect` all of them, from `stream` and
    `stream_blocking`, whose memory is bounded, the last ones, up to 16 MiB of JSON.
    """


class SourceError(ClientError):
    """The audio cannot be read. (A file that is not there raises FileNotFoundError.)"""


class ConnectError(ClientError):
    """No websocket: nobody listens, the name is unknown, the answer is not that of a websocket server."""


class RefusedError(ConnectError):
    """The server answered the upgrade with an HTTP status other than 101.

    `status` and `body` are as received (the body cut to 1000 characters); `retry_after` is the header of that name.
    """

    def __init__(self, status: int, body: str, retry_after: str | None = None) -> None:
        self.status = status
        self.body = body[:1000]
        self.retry_after = retry_after
        text = f"the server refused with HTTP {status}"
        if reason := _reason(body):
            text += f": {reason}"
        if retry_after is not None:
            text += f" (try again after {retry_after} s)"
        super().__init__(text)


def _reason(body: str) -> str:
    """What the body of a refusal says: the text of its ``error`` when it is JSON that has one, else all of it."""
    try:
        reason = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        reason = None
    return (reason if isinstance(reason, str) else body).strip()[:1000]


class RejectedError(ClientError):
    """The server opened no session for our start. `error_code` is the code of its error event."""

    def __init__(self, message: str, error_code: str) -> None:
        self.error_code = error_code
        super().__init__(f"the server did not accept the session: {message}")


class BadEvent(ClientError):
    """The server sent something that is no event of the protocol."""


class ClosedError(ClientError):
    """The connection ended otherwise than in good order after stop.

    `received_code` is the websocket close code, 1005 for a close frame without one, None when there was no close frame;
    `reason` is its text. `lost`: the connection broke without a word from either side.
    """

    def __init__(self, text: str, received_code: int | None = None, reason: str = "", lost: bool = False) -> None:
        self.received_code = received_code
        self.reason = reason
        self.lost = lost
        super().__init__(text)


class SilentServer(ClientError):
    """Everything was sent, and no message came for longer than `result_timeout_s`."""


class MissingResults(ClientError):
    """The server closed as if all were well, but results are missing: `problems` says which, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(self.problems[:5])
        if len(self.problems) > 5:
            shown += f"; and {len(self.problems) - 5} more"
        super().__init__(f"not every result arrived: {shown}")
