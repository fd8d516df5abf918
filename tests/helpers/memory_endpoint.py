"""An endpoint without a wire: a pair of queues in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from voxgate.config import load_config
from voxgate.models import FunctionModel, Model
from voxgate.protocol.closing import LEFT, Close
from voxgate.protocol.events import Event
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Listener, Message, Received
from voxgate.session.session import Session

__all__ = ["S16", "MemoryEndpoint", "Stage", "start"]

S16 = AudioFormat(1, 16_000, 16, False)


def start(**options: Any) -> Start:
    return Start(S16, **options)


class MemoryEndpoint:
    """What the test puts into `incoming` is received; what the session says is in `events`, in order, as soon as it is
    sent. With `reads` cleared, the client does not read.
    """

    def __init__(self, departure: Departure = Departure(LEFT)) -> None:  # noqa: B008
        self.departure = departure
        self.incoming: asyncio.Queue[Received | None] = asyncio.Queue()
        self.n_received = 0
        self.events: list[Event] = []
        self.closed: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self.reads = asyncio.Event()
        self.reads.set()
        self.listener: Listener | None = None
        self.unspeakable: type[Event] | tuple[()] = ()
        """Events that this wire cannot encode."""
        self._encoded: dict[str, Event] = {}

    def say(self, *messages: Received | None) -> None:
        for message in messages:
            self.incoming.put_nowait(message)

    def code_of(self, close: Close) -> int | None:
        return None

    async def receive(self) -> Received | None:
        message = await self.incoming.get()
        self.n_received += 1
        return message

    def listen(self, listener: Listener | None) -> None:
        self.listener = listener

    def encode(self, event: Event) -> Sequence[Message]:
        if isinstance(event, self.unspeakable):
            from voxgate.errors import InternalError

            raise InternalError("no words for it")
        message = f"{len(self._encoded)}: {event.type}"
        self._encoded[message] = event
        return (message,)

    def write(self, message: Message) -> bool:
        return False

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        assert isinstance(message, str)
        self.events.append(self._encoded[message])

    async def close(self, close: Close) -> None:
        self.closed.set_result(close)
        self.incoming.put_nowait(None)  # the client leaves when it is sent away


class Stage:
    """A service that has started, on no socket: ``async with Stage(model, **settings) as stage``."""

    def __init__(self, model: Any = None, **settings: Any) -> None:
        if model is None:
            model = lambda audio: {"count": len(audio)}  # noqa: E731
        defaults = {"vad.detector": "energy", "inference.warm_up": False}
        config = load_config(environ={}, overrides={**defaults, **settings})
        self.service = Service(config, model if isinstance(model, Model) else FunctionModel(model))
        self.tally = self.service.tally

    async def __aenter__(self) -> Stage:
        await self.service.start()
        self.context = SessionContext.of(self.service)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.service.stop(30)

    def session(self, endpoint: MemoryEndpoint, route: Any = "simple", check_token: Any = None) -> asyncio.Task[None]:
        """Runs a session of its own task."""
        return asyncio.create_task(Session(endpoint, self.context, route, check_token).run())
