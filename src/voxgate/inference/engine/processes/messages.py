"""The messages between the server and a worker process.

Each is a MessagePack array. Audio does not travel in messages; see :mod:`.arena`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from voxgate.inference.engine.processes.outcomes import SentOutcome
from voxgate.models.request import Request

__all__ = ["Answer", "Loaded", "Message", "Prepare", "Quit", "Record", "Refused", "Run", "Trial", "Warm"]


# --- from the server ---


class Prepare(Struct, frozen=True, array_like=True, tag="prepare"):
    """Map the arena of `arena_bytes`; warm the model up when `warm_up`. The answer is Warm or Refused."""

    arena_bytes: int
    warm_up: bool


class Trial(Struct, frozen=True, array_like=True, tag="trial"):
    """Run `n_items` seconds of faint noise as one batch. The answer is an Answer."""

    n_items: int


class Run(Struct, frozen=True, array_like=True, tag="run"):
    """Run the batch in the arena; `lengths`: samples of each row. The answer is an Answer.

    `requests`: a `models.Request` for each row, whose options are a mapping here, for the worker knows their class.
    """

    lengths: list[int]
    requests: list[Request]


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


class Record(Struct, frozen=True, array_like=True, tag="record"):
    """A record of the worker's log; `stack`: the formatted stack, or an empty text."""

    logger: str
    level: int
    text: str
    stack: str


Message: TypeAlias = Prepare | Trial | Run | Quit | Loaded | Refused | Warm | Answer | Record
