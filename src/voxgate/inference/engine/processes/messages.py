"""The messages between the server and a worker process.

Each is a MessagePack array. Audio does not travel in messages; see :mod:`.arena`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from voxgate.inference.engine.processes.outcomes import SentOutcome
from voxgate.models.request import Request

__all__ = [
    "Answer",
    "Drop",
    "Loaded",
    "Message",
    "Partial",
    "Prepare",
    "Quit",
    "Record",
    "Refused",
    "Run",
    "StateCall",
    "Stop",
    "Trial",
    "Warm",
]


# --- from the server ---


class Prepare(Struct, frozen=True, array_like=True, tag="prepare"):
    """Map the arena of `arena_bytes`; warm the model up when `warm_up`. The answer is Warm or Refused."""

    arena_bytes: int
    warm_up: bool


class Trial(Struct, frozen=True, array_like=True, tag="trial"):
    """Run `n_items` seconds of faint noise as one batch; 0: step through one second, and finish. The answer is an
    Answer.
    """

    n_items: int


class StateCall(Struct, frozen=True, array_like=True):
    """Of a batch of one: `method` is called with the state of this number, which a new number opens."""

    method: Literal["step", "finish"]
    state: int


class Run(Struct, frozen=True, array_like=True, tag="run"):
    """Run the batch in the arena; `lengths`: samples of each row. The answer is an Answer.

    `requests`: a `models.Request` for each row, whose options are a mapping here, for the worker knows their class.
    """

    lengths: list[int]
    requests: list[Request]
    number: int = 0
    """Counts the calls of this worker."""
    sends_partials: bool = False
    """Whether the interim results of the call are needed."""
    state_call: StateCall | None = None


class Drop(Struct, frozen=True, array_like=True, tag="drop"):
    """Drop the states of these numbers. There is no answer."""

    states: list[int]


class Stop(Struct, frozen=True, array_like=True, tag="stop"):
    """Nobody needs the call `number` any more: it may end early, and is answered all the same."""

    number: int


class Quit(Struct, frozen=True, array_like=True, tag="quit"):
    """Close the model and exit."""


# --- from the worker ---


class Loaded(Struct, frozen=True, array_like=True, tag="loaded"):
    """The model is loaded but not yet warm; what the server needs to know about it. `sample_rate` in Hz."""

    name: str
    sample_rate: int
    threads: int | None
    holds_gil: bool
    batches: bool
    stateful: bool
    stateless: bool
    options_schema: dict[str, Any] | None
    mixes_options: bool
    gives_text: bool | None


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The model could not be loaded or warmed up, with the reason. The worker exits."""

    text: str


class Warm(Struct, frozen=True, array_like=True, tag="warm"):
    """The answer to Prepare."""


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """One outcome for each row. `retried`: the batch failed as a whole, and the outcomes come from a second try, item
    by item. `bad_results`: of a trial call, why results cannot be sent.
    """

    outcomes: list[SentOutcome]
    retried: bool
    bad_results: list[str] = []
    opened: bool = False
    """After a StateCall: the state is open."""


class Partial(Struct, frozen=True, array_like=True, tag="partial"):
    """An interim result of the running call."""

    outcome: SentOutcome


class Record(Struct, frozen=True, array_like=True, tag="record"):
    """A record of the worker's log; `stack`: the formatted stack, or an empty text."""

    logger: str
    level: int
    text: str
    stack: str


Message: TypeAlias = Prepare | Trial | Run | Drop | Stop | Quit | Loaded | Refused | Warm | Answer | Partial | Record
