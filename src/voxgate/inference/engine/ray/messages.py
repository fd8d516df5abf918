"""The messages between a server and its driver process, and between a server and the replicas of the model.

Each is a MessagePack array. Servers and replicas may be of different versions while one of them is updated: fields are
only added, at the end, with a default. The driver passes what is for a replica on without looking at it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from voxgate.inference.engine.processes.messages import Answer, Loaded, Partial, Quit, Record
from voxgate.models.request import Request

__all__ = [
    "Answered",
    "Call",
    "Cancel",
    "DriverMessage",
    "Facts",
    "Failed",
    "FailureKind",
    "Forget",
    "PlacedAnswer",
    "ReplicaAnswer",
    "ReplicaCall",
    "ServerMessage",
    "StateRef",
    "Status",
    "Unable",
]


# --- from a server to a replica, and back ---


class StateRef(Struct, frozen=True, array_like=True):
    """The state of a stateful call."""

    method: Literal["step", "finish"]
    server: str
    """The server that it belongs to: a random text."""
    number: int
    """Its number in that server."""
    replica: str
    """The replica that keeps it; empty: no call has opened it yet."""


class ReplicaCall(Struct, frozen=True, array_like=True):
    """Run a batch; `lengths`: samples of each row. The options in `requests` are mappings: the replica knows their
    class.
    """

    lengths: list[int]
    requests: list[Request]
    sample_rate: int
    state: StateRef | None = None


class PlacedAnswer(Struct, frozen=True, array_like=True, tag="placed"):
    """The answer of a replica."""

    answer: Answer
    replica: str
    is_lost: bool = False
    """The replica has no such state, and did not make the call."""
    bad_rate: int = 0
    """Not 0: the sample rate of the model, which is another one than that of the call, and the call was not made."""


ReplicaAnswer: TypeAlias = PlacedAnswer | Partial


# --- from the server to the driver ---


class Call(Struct, frozen=True, array_like=True, tag="call"):
    """The answer is Answered, after any number of Answered with a Partial when `streams`, or Failed."""

    number: int
    call: bytes
    """A ReplicaCall."""
    audio: memoryview
    """float32, the rows of the batch."""
    replica: str = ""
    """The replica that has to run it; empty: any."""
    streams: bool = False


class Cancel(Struct, frozen=True, array_like=True, tag="cancel"):
    """Nobody waits for the call any more. It is answered all the same."""

    number: int


class Forget(Struct, frozen=True, array_like=True, tag="forget"):
    """Drop these states. There is no answer."""

    server: str
    replica: str
    numbers: list[int]


ServerMessage: TypeAlias = Call | Cancel | Forget | Quit


# --- from the driver to the server ---


class Facts(Struct, frozen=True, array_like=True, tag="facts"):
    """The deployed model. `calls`: how many calls a replica runs at once."""

    model: Loaded
    calls: int


class Status(Struct, frozen=True, array_like=True, tag="status"):
    """Sent at least every few seconds. `reason`: why there is no replica that answers."""

    replicas: int
    reason: str = ""


class Answered(Struct, frozen=True, array_like=True, tag="answered"):
    number: int
    answer: bytes
    """A ReplicaAnswer."""


FailureKind: TypeAlias = Literal["died", "cancelled", "bug"]


class Failed(Struct, frozen=True, array_like=True, tag="failed"):
    """The call has no answer. `died`: the replica or the way to it is gone."""

    number: int
    kind: FailureKind
    text: str


class Unable(Struct, frozen=True, array_like=True, tag="unable"):
    """The driver exits, with the reason."""

    text: str


DriverMessage: TypeAlias = Facts | Status | Answered | Failed | Unable | Record
