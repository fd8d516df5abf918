"""What every script here shares: the task comes as JSON on the command line, and the findings go to stdout as JSON.

The scripts run in the virtual environment of their SDK, which has no Voxgate.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Task:
    """`url`: http://HOST:PORT; `audio`: a file of s16 PCM, mono, at `rate` Hz; `flush`: ask for a final after it and
    wait for it before the end.
    """

    url: str
    key: str
    audio: str
    rate: int = 16_000
    flush: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def chunks(self, chunk_ms: int = 100) -> Iterator[bytes]:
        size = 2 * self.rate * chunk_ms // 1000
        with open(self.audio, "rb") as file:
            while chunk := file.read(size):
                yield chunk


@dataclass
class Found:
    """What the application behind the SDK sees, in order."""

    finals: list[dict[str, Any]] = field(default_factory=list)
    """`text`, and if the SDK says so: `start`, `end` in seconds, `words`."""
    interims: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """The kinds of everything else."""
    errors: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def the_task() -> Task:
    return Task(**json.loads(sys.argv[1]))


def report(found: Found) -> None:
    print(json.dumps(asdict(found)))


def main(run: Callable[[Task, Found], Coroutine[Any, Any, None]], timeout_s: float | None = None) -> None:
    """Runs a script. What it raises is a finding too."""
    found = Found()
    try:
        asyncio.run(asyncio.wait_for(run(the_task(), found), timeout_s))
    except Exception as error:
        found.errors.append(f"{type(error).__name__} {getattr(error, 'status_code', '')}: {error}")
    report(found)
