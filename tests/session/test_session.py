"""A whole session over an endpoint that is no websocket: a pair of queues in memory."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from helpers.judges import Slow
from helpers.memory_endpoint import S16, MemoryEndpoint, Stage, start
from helpers.wire import bursts, encode, pieces
from voxgate.errors import InvalidMessage, StreamTimeout, Unauthorized
from voxgate.protocol.closing import LOST, Close, CloseReason
from voxgate.protocol.events import Active, Draining, Error, Finished, Inactive, Segment, Started
from voxgate.protocol.requests import Flush, KeepAlive, Stop
from voxgate.service.client_info import UNKNOWN_CLIENT, ClientInfo
from voxgate.session.endpoint import Departure, Rejected
from voxgate.session.inbox import INBOX_MAX_BYTES
from voxgate.session.routes.base import RouteHandler
from voxgate.session.session import Session

DISCONNECT = Stop(disconnect=True)
TALK = encode(bursts((1.0, 2.0), length_s=3.0))
COMPLETED = Close(CloseReason.COMPLETED)
WAIT_S = 30.0


def run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(WAIT_S):
            await main

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def turns(n: int = 50) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


class Gated:
    """A model that answers when the test opens it."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.n_samples = 0

    def __call__(self, audio: Any) -> dict[str, int]:
        assert self.opened.wait(WAIT_S)
        self.n_samples += len(audio)
        return {"count": len(audio)}


def ends(stage: Stage, route: str = "simple") -> dict[str, int]:
    return {reason: n for reason, n in stage.tally.ends[route, "native"].items() if n}


def outcomes(stage: Stage, route: str = "simple") -> dict[str, int]:
    return {outcome: n for outcome, n in stage.tally.ended[route, "native"].items() if n}


def test_a_session_of_the_segmented_route() -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint, "segmented")
            endpoint.say(start(notices=True), *pieces(TALK, 640), Stop(), DISCONNECT)
            await session
            kinds = [type(event) for event in endpoint.events]
            assert kinds == [Started, Active, Inactive, Segment, Finished]
            assert await endpoint.closed == COMPLETED
            assert (ends(stage, "segmented"), outcomes(stage, "segmented")) == ({"completed": 1}, {"completed": 1})
            assert sum(stage.tally.closes.values()) == 0  # it is no websocket
            assert stage.tally.binary_in_bytes == len(TALK)
            assert stage.tally.text_in == 0
            assert stage.context.streams == set()

    run(main())


@pytest.mark.parametrize("n_bytes", [1, 7, 640, 100_000])
def test_every_sample_reaches_the_model_however_it_is_cut(n_bytes: int) -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            endpoint.say(start(), *pieces(TALK[:6400], n_bytes), DISCONNECT)
            await session
            assert sum(event.output["count"] for event in endpoint.events if isinstance(event, Segment)) == 3200

    run(main())


def test_a_slow_model_holds_the_client_back() -> None:
    """Reading stops while much less than everything has been read, and nothing is lost."""

    async def main() -> None:
        model = Gated()
        async with Stage(model, **{"limits.buffered_audio_s": 5.0}) as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            data = bytes(3200)
            n_messages = 2 * INBOX_MAX_BYTES // len(data)
            endpoint.say(start(), *[data] * n_messages, DISCONNECT)
            await until(lambda: bool(stage.tally.limit_hits["buffered_audio_s"]))
            await turns()
            read_bytes = endpoint.n_received * len(data)
            assert 5 * S16.sample_rate * S16.frame_bytes <= read_bytes < n_messages * len(data)
            model.opened.set()
            await session
            assert model.n_samples == n_messages * len(data) // 2
            assert await endpoint.closed == COMPLETED

    run(main())


def test_flushes_are_held_back_as_audio_is() -> None:
    """Each has a reply behind those of the model."""

    async def main() -> None:
        model = Gated()
        async with Stage(model, **{"inference.stream_jobs": 8}) as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            endpoint.say(start(), bytes(6400), *[Flush()] * 100)
            await until(lambda: bool(stage.tally.limit_hits["stream_jobs"]))
            await turns()
            (one,) = stage.context.streams
            assert isinstance(one, Session)
            assert one._work is not None
            assert one._work.handler.pending == 4
            endpoint.say(bytes(6400), Stop())
            model.opened.set()
            await until(lambda: one._work is None)
            assert model.n_samples == 6400
            assert sum(event.type == "flushed" for event in endpoint.events) == 100
            endpoint.say(DISCONNECT)
            await session

    run(main())


def test_a_client_that_does_not_read_is_held_back() -> None:
    async def main() -> None:
        async with Stage(**{"limits.unsent_events": 4}) as stage:
            endpoint = MemoryEndpoint()
            endpoint.reads.clear()
            session = stage.session(endpoint)
            n_messages = 2 * INBOX_MAX_BYTES // 3200  # more than is ever read ahead, however long this takes
            messages: list[Any] = []
            for _ in range(n_messages):
                messages += [bytes(3200), Flush()]
            endpoint.say(start(), *messages, DISCONNECT)
            await until(lambda: bool(stage.context.streams))
            (running,) = stage.context.streams
            await until(lambda: running._inbox.is_full and running._send_queue.is_full)
            await turns()
            assert endpoint.events == []
            assert endpoint.n_received < len(messages)
            n_results = stage.service.scheduler.counts().answered
            assert n_results < n_messages / 4  # no calls are made for a client that does not read
            endpoint.reads.set()
            await session
            segments = [event for event in endpoint.events if isinstance(event, Segment)]
            assert sum(event.output["count"] for event in segments) == n_messages * 1600

    run(main())


def test_the_shortcut_takes_live_audio_alone() -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint, "segmented")
            await until(lambda: endpoint.listener is not None)
            listener = endpoint.listener
            assert listener is not None
            assert not listener(bytes(640))  # no session is open
            endpoint.say(start(), KeepAlive())
            await until(lambda: bool(stage.tally.audio["segmented"].sessions) and endpoint.incoming.empty())
            await turns()
            for piece in pieces(TALK, 640):
                assert listener(piece)
            assert not listener(b"")
            assert not listener(bytes(10**6))  # too long for one turn of the loop
            endpoint.say(Stop())
            await until(lambda: endpoint.incoming.empty())
            endpoint.say(DISCONNECT)
            await session
            assert [type(event) for event in endpoint.events] == [Active, Inactive, Segment]
            assert endpoint.listener is None
            assert stage.tally.binary_in_bytes == len(TALK)

    run(main())


def test_messages_that_the_wire_could_not_parse() -> None:
    async def main() -> None:
        async with Stage(**{"limits.invalid_messages": 2}) as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            endpoint.say(Rejected(InvalidMessage("no")), start(), Rejected(InvalidMessage("nor this")))
            await session
            assert endpoint.events == [Error("no", "invalid_message"), Error("nor this", "invalid_message")]
            assert await endpoint.closed == Close(CloseReason.INVALID, "too many invalid messages", "invalid_messages")
            assert (ends(stage), outcomes(stage)) == ({"invalid": 1}, {"invalid": 1})
            assert stage.tally.limit_hits["invalid_messages"] == 1

    run(main())


def test_a_message_that_the_wire_refuses_takes_its_place_in_the_order() -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            close = Close(CloseReason.TOO_LARGE, "too large", "message_bytes")
            endpoint.say(start(), bytes(640), Stop(), Rejected(close=close), start())
            await session
            assert [type(event) for event in endpoint.events] == [Segment]
            assert await endpoint.closed == close
            assert (ends(stage), outcomes(stage)) == ({"too_large": 1}, {"invalid": 1})
            assert stage.tally.limit_hits["message_bytes"] == 1

    run(main())


def test_a_result_that_cannot_be_encoded_becomes_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            endpoint.unspeakable = Segment
            session = stage.session(endpoint)
            endpoint.say(start(), bytes(640), DISCONNECT)
            await session
            assert endpoint.events == [Error("Internal server error", "internal")]
            assert await endpoint.closed == COMPLETED
            assert stage.tally.errors["internal"] == 1

    run(main())
    assert "a result cannot be sent: no words for it" in caplog.text


def test_audio_behind_a_question_of_the_turn_detector_is_bounded() -> None:
    """The shortcut stays open after the question, until `limits.buffered_audio_s` wait; then audio has to wait outside,
    as it does for a slow model.
    """

    async def main() -> None:
        settings = {"turn.detector": "helpers.judges:Slow", "turn.deadline_ms": 10_000, "limits.buffered_audio_s": 2}
        async with Stage(**settings) as stage:
            Slow.go.clear()
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint, "segmented")
            endpoint.say(start(notices=True))
            await until(lambda: bool(stage.tally.audio["segmented"].sessions))
            await turns()
            listener = endpoint.listener
            assert type(listener).__name__ == "LiveAudio"
            for piece in pieces(TALK[: 2 * 38_400], 640):  # to 2.4 s: the detector was asked at about 2.25 s
                assert listener(piece)
                await turns(3)
            assert endpoint.events[-1].type == "active"
            n_taken = 0
            while listener(bytes(640)):
                n_taken += 640
                await turns(3)
            assert 1.5 * 32_000 < n_taken < 2 * 32_000
            endpoint.say(bytes(640), Stop())
            await turns()
            assert [event.type for event in endpoint.events] == ["started", "active"]
            Slow.go.set()
            await until(lambda: isinstance(endpoint.events[-1], Finished))
            assert [event.type for event in endpoint.events[2:4]] == ["inactive", "segment"]
            assert endpoint.events[-1] == Finished(
                (76_800 + n_taken + 640) / 32_000, (76_800 + n_taken + 640) / 32_000, 1, 0
            )
            assert stage.tally.turns["finished"] == 1
            assert stage.tally.limit_hits["buffered_audio_s"] == 1
            endpoint.say(DISCONNECT)
            await session

    run(main())


@pytest.mark.parametrize("by_shortcut", [False, True])
def test_a_bug_closes_with_an_error_and_the_stack_in_the_log(
    by_shortcut: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def feed(self: RouteHandler, data: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(RouteHandler, "feed", feed)

    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            endpoint.say(start())
            await until(lambda: bool(stage.tally.audio["simple"].sessions))
            await turns()
            if by_shortcut:
                assert endpoint.listener is not None
                assert endpoint.listener(bytes(640))
            else:
                endpoint.say(bytes(640))
            await session
            assert endpoint.events == [Error("Internal server error", "internal")]
            assert await endpoint.closed == Close(CloseReason.INTERNAL, "internal")
            assert (ends(stage), outcomes(stage)) == ({"internal": 1}, {"failed": 1})

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "ZeroDivisionError: a bug" in caplog.text


@pytest.mark.parametrize(
    ("departure", "reason", "outcome"),
    [
        (Departure("left"), "left", "left"),
        (Departure(LOST, 1006), "lost", "left"),
        (Departure(CloseReason.INVALID, 1002), "invalid", "invalid"),
        (Departure(CloseReason.TOO_LARGE, 1009, "message_fragments"), "too_large", "invalid"),
        (Departure(CloseReason.TIMEOUT), "timeout", "timeout"),
    ],
)
def test_clients_that_leave(departure: Departure, reason: str, outcome: str) -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint(departure)
            session = stage.session(endpoint)
            endpoint.say(start(), bytes(640), None)
            await session
            assert (ends(stage), outcomes(stage)) == ({reason: 1}, {outcome: 1})
            codes = {code: n for code, n in stage.tally.closes.items() if n}
            assert codes == ({} if departure.code is None else {str(departure.code): 1})
            assert stage.tally.limit_hits["message_fragments"] == (departure.limit is not None)
            assert not endpoint.closed.done()

    run(main())


def test_how_the_client_leaves_does_not_count_once_the_server_has_closed() -> None:
    """A websocket's client answers a close frame with the same code, which then looks like the wire's own."""

    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint(Departure(CloseReason.TIMEOUT, 1008, "message_timeout_s"))
            session = stage.session(endpoint)
            endpoint.say(DISCONNECT)
            await session
            assert (ends(stage), outcomes(stage)) == ({"completed": 1}, {"completed": 1})
            assert sum(stage.tally.limit_hits.values()) == 0

    run(main())


def test_a_client_that_leaves_after_its_results_has_completed() -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            endpoint.say(start(notices=True), bytes(640), Stop())
            await until(lambda: bool(endpoint.events) and isinstance(endpoint.events[-1], Finished))
            endpoint.say(None)
            await session
            assert (ends(stage), outcomes(stage)) == ({"left": 1}, {"completed": 1})

    run(main())


def test_a_cancelled_session_counts_as_failed() -> None:
    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            await until(lambda: endpoint.listener is not None)
            session.cancel()
            with pytest.raises(asyncio.CancelledError):
                await session
            assert (ends(stage), outcomes(stage)) == ({"internal": 1}, {"failed": 1})
            assert stage.context.streams == set()

    run(main())


def test_timeouts() -> None:
    async def main() -> None:
        async with Stage(**{"limits.start_timeout_s": 0.1, "limits.idle_timeout_s": 0.1}) as stage:
            for messages, text in [
                ((), "no start within 0.1 s of connecting"),
                ((start(),), "no message within 0.1 s"),
            ]:
                endpoint = MemoryEndpoint()
                session = stage.session(endpoint)
                endpoint.say(*messages)
                await session
                assert endpoint.events == [Error(text, "timeout")]
                assert await endpoint.closed == Close(CloseReason.TIMEOUT, "timeout")
            assert ends(stage) == {"timeout": 2}

    run(main())


def test_the_end_of_its_life_comes_behind_the_results() -> None:
    async def main() -> None:
        async with Stage(**{"limits.session_s": 1.0}) as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint)
            endpoint.say(start(), bytes(640))
            await session
            segment, error = endpoint.events
            assert isinstance(segment, Segment)
            text = "the connection is 1 s old, the longest allowed"
            assert error == Error(text, StreamTimeout.code)
            assert await endpoint.closed == Close(CloseReason.TIMEOUT, "timeout")

    run(main())


def test_the_end_of_the_server() -> None:
    async def main() -> None:
        async with Stage() as stage:
            waiting, working = MemoryEndpoint(), MemoryEndpoint()
            sessions = [stage.session(waiting), stage.session(working)]
            working.say(start(notices=True), bytes(640))
            await until(lambda: bool(stage.tally.audio["simple"].sessions) and waiting.listener is not None)
            await turns()
            assert stage.service.drain(9.0) == 1
            assert await waiting.closed == Close(CloseReason.DRAINING)
            stage.service.end_sessions()
            await asyncio.gather(*sessions)
            assert [type(event) for event in working.events] == [Started, Draining, Segment, Finished]
            assert await working.closed == Close(CloseReason.DRAINING)
            late = MemoryEndpoint()
            await stage.session(late)
            assert await late.closed == Close(CloseReason.DRAINING)
            assert (ends(stage), outcomes(stage)) == ({"draining": 3}, {"drained": 3})

    run(main())


@pytest.mark.parametrize("is_good", [True, False])
def test_a_token_in_the_start(is_good: bool) -> None:
    checked: list[str] = []

    async def check(token: str) -> ClientInfo | Unauthorized:
        checked.append(token)
        return UNKNOWN_CLIENT if is_good else Unauthorized("bad")

    async def main() -> None:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            session = stage.session(endpoint, check_token=check)
            endpoint.say(start(token="secret"), bytes(640), DISCONNECT)
            await session
            if is_good:
                assert [type(event) for event in endpoint.events] == [Segment]
                assert await endpoint.closed == COMPLETED
            else:
                assert endpoint.events == [Error("bad", "unauthorized")]
                assert await endpoint.closed == Close(CloseReason.UNAUTHORIZED, "unauthorized")

    run(main())
    assert checked == ["secret"]


def test_audio_of_the_simple_route_takes_the_shortcut() -> None:
    """And is answered as what came the other way."""

    async def main(is_short: bool) -> list[tuple[float, float]]:
        async with Stage() as stage:
            endpoint = MemoryEndpoint()
            stage.session(endpoint, "simple")
            endpoint.say(start())
            await until(lambda: bool(stage.tally.audio["simple"].sessions))
            await turns()
            listener = endpoint.listener
            assert type(listener).__name__ == "LiveAudio"
            for piece in pieces(TALK[:32_640], 640):
                if is_short:
                    assert listener(piece)
                else:
                    endpoint.say(piece)
                await turns(3)
            endpoint.say(Stop())
            await until(lambda: bool(endpoint.events) and endpoint.events[-1].end_time == 1.02)
            assert stage.tally.binary_in == 51
            return [(event.start_time, event.end_time) for event in endpoint.events]

    for is_short in (True, False):
        times = asyncio.run(main(is_short))
        assert times[0][0] == 0
        assert all(before[1] == after[0] for before, after in pairwise(times))
