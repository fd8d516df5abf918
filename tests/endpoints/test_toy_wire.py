"""A wire that the package does not have, made of the endpoints' interface alone: newline-delimited JSON over a Unix
socket. Audio is base64 in a line of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from voxgate.config import load_config
from voxgate.errors import InvalidMessage
from voxgate.models import FunctionModel
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Event, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, Stop
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Listener, Message, Received, Rejected
from voxgate.session.session import Session


class LineEndpoint:
    """Its words: {"hello": rate}, {"audio": base64}, {"bye": true}; {"text": ...} comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.departure = Departure(LOST)

    def code_of(self, close: Close) -> int | None:
        return None

    async def receive(self) -> Received | None:
        try:
            line = await self._reader.readline()
        except ValueError:
            return Rejected(close=Close(CloseReason.TOO_LARGE))
        except OSError:
            return None
        if not line:
            self.departure = Departure(LEFT)
            return None
        try:
            match json.loads(line):
                case {"hello": int(rate)}:
                    return Start(AudioFormat(1, rate, 16, False))
                case {"audio": str(text)}:
                    return base64.b64decode(text, validate=True)
                case {"bye": True}:
                    return Stop(disconnect=True)
        except ValueError:
            pass
        return Rejected(InvalidMessage("expected hello, audio or bye"))

    def listen(self, listener: Listener | None) -> None:
        pass

    def encode(self, event: Event) -> Sequence[Message]:
        words: dict[str, Any] | None = None
        if isinstance(event, Segment):
            words = {"text": event.output["text"]}
        elif event.type == "error":
            words = {"problem": event.code}  # type: ignore[union-attr]
        return () if words is None else (json.dumps(words),)

    def write(self, message: Message) -> bool:
        return False

    async def send(self, message: Message) -> None:
        assert isinstance(message, str)
        with contextlib.suppress(OSError):
            self._writer.write(message.encode() + b"\n")
            await self._writer.drain()

    async def close(self, close: Close) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(json.dumps({"closed": close.reason}).encode() + b"\n")
            self._writer.close()


class Lines:
    """A server of that wire, and one client of it."""

    def __init__(self, path: Path, **settings: Any) -> None:
        overrides = {"vad.detector": "energy", "inference.warm_up": False, **settings}
        model = FunctionModel(lambda audio: {"text": f"{len(audio)} samples"})
        self.service = Service(load_config(environ={}, overrides=overrides), model)
        self.path = path

    async def __aenter__(self) -> Lines:
        await self.service.start()
        service = self.service
        self.entry = Entry(service.gate, service.admission, service.model, service.config.auth.in_start)
        self.context = SessionContext.of(service)
        self.server = await asyncio.start_unix_server(self._serve, self.path, limit=100_000)
        self.reader, self.writer = await asyncio.open_unix_connection(self.path)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self.writer.close()
        self.server.close()
        await self.service.stop(30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = ClientInfo(address="unix")
        permit = await self.entry.admit(client)
        if isinstance(permit, tuple):  # a Refusal
            writer.write(json.dumps({"refused": permit.reason}).encode() + b"\n")
            writer.close()
            return
        try:
            await Session(LineEndpoint(reader, writer), self.context, "simple", None, client).run()
        finally:
            permit.release()

    def say(self, **words: Any) -> None:
        self.writer.write(json.dumps(words).encode() + b"\n")

    def say_audio(self, n_samples: int) -> None:
        self.say(audio=base64.b64encode(bytes(2 * n_samples)).decode())

    async def rest(self) -> list[dict[str, Any]]:
        """Everything up to the end."""
        return [json.loads(line) async for line in self.reader]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines"


def test_a_session(path: Path) -> None:
    async def main() -> None:
        async with Lines(path) as lines:
            lines.say(hello=16_000)
            for _ in range(50):
                lines.say_audio(320)
            lines.say(bye=True)
            *texts, closed = await lines.rest()
            assert sum(int(words["text"].split()[0]) for words in texts) == 50 * 320
            assert closed == {"closed": "completed"}
            tally = lines.service.tally
            assert {reason: n for reason, n in tally.ends["simple", "native"].items() if n} == {"completed": 1}
            assert sum(tally.closes.values()) == 0

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize(
    ("lines_said", "answers"),
    [
        (['{"audio":""}', '{"audio":"AAAA"}', '{"bye":true}'], [{"problem": "not_started"}, {"closed": "completed"}]),
        (["{"] * 3, [*[{"problem": "invalid_message"}] * 3, {"closed": "invalid"}]),
        (['{"hello":1}', '{"bye":true}'], [{"problem": "invalid_start"}, {"closed": "completed"}]),
        (["x" * 300_000], [{"closed": "too_large"}]),
    ],
)
def test_clients_that_break_its_rules(path: Path, lines_said: list[str], answers: list[dict[str, str]]) -> None:
    async def main() -> None:
        async with Lines(path, **{"limits.invalid_messages": 3}) as lines:
            for line in lines_said:
                lines.writer.write(line.encode() + b"\n")
            assert await lines.rest() == answers

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_server_that_drains_refuses(path: Path) -> None:
    async def main() -> None:
        async with Lines(path) as lines:
            lines.service.drain(1.0)
            reader, writer = await asyncio.open_unix_connection(path)
            assert json.loads(await reader.readline()) == {"refused": "draining"}
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))
