"""After a lost connection nothing is lost or repeated, times continue, and the caller gets a notice."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import soundfile
from msgspec import UNSET

from helpers.fake_clock import FakeClock
from helpers.scripted_server import (
    Script,
    active,
    error,
    final,
    inactive,
    interim,
    one_channel_ahead,
    refusing,
    saying,
    serving,
    simple_route_that_is_lost,
)
from voxgate import client, recordings
from voxgate.client import AudioFormat, Lost, Reconnect, Resumed
from voxgate.client.errors import ClosedError, ConnectError, RefusedError
from voxgate.client.reconnect import is_worth_another_try, wait_s
from voxgate.protocol.events import Active, Error, Event, Finished, Inactive, Segment, Started

MONO = AudioFormat(1, 16_000, 16, False)


STEREO = AudioFormat(2, 16_000, 16, False)


TEN_SECONDS = np.arange(160_000, dtype="<i4").astype("<i2").tobytes()


def run(
    server: Any, source: client.Source = TEN_SECONDS, path: str = "/api/v1/segmented", **options: Any
) -> tuple[list[Event], list[Lost | Resumed], client.Stream]:
    options = {"format": MONO, "chunk_size": 3200, "clock": FakeClock(), **options}
    notices: list[Lost | Resumed] = []
    options.setdefault("reconnect", Reconnect(on_notice=notices.append))

    async def main() -> tuple[list[Event], client.Stream]:
        async with serving(server, path, max_queue=None, **options.pop("refusing", {})) as addr:
            stream = client.stream(source, addr=addr, **options)
            return [event async for event in stream], stream

    events, stream = asyncio.run(asyncio.wait_for(main(), 60))
    return events, notices, stream


def test_what_had_no_answer_is_sent_again_and_times_go_on() -> None:
    server = Script(
        (160_000, saying(active(0.5), inactive(2.0), final(0.5, 2.0, text="one"), active(3.0), abort=True)),
        (None, saying(active(1.0), interim(1.0, 1.5), inactive(2.5), final(1.0, 2.5, text="two"))),
    )
    heard: list[bytes] = []
    events, notices, stream = run(server, on_audio=lambda chunk: heard.append(bytes(chunk)))
    # Answered up to 2.0 s, silent until 3.0 s, where speech was open: its session begins there.
    assert server.sessions[1].audio == TEN_SECONDS[3 * 32_000 :]
    assert events == [
        Active(0.5),
        Inactive(2.0),
        Segment(0.5, 2.0, True, {"text": "one"}),
        Active(3.0),
        Active(4.0),
        Segment(4.0, 4.5, False, {"count": 1}),
        Inactive(5.5),
        Segment(4.0, 5.5, True, {"text": "two"}),
    ]
    lost, resumed = notices
    assert isinstance(lost, Lost)
    assert isinstance(resumed, Resumed)
    assert lost.error.args[0].startswith("the connection was lost")
    assert 2.0 <= lost.unanswered_s <= 7.0  # 5 s at least were heard, 3.0 s answered
    assert (lost.attempt, resumed.at_s, resumed.gap_s) == (1, 3.0, 0.0)
    assert resumed.away_s == pytest.approx(lost.wait_s)
    assert b"".join(heard) == TEN_SECONDS  # each byte once
    assert (stream.check.n_results, stream.check.n_interims, stream.check.n_errors) == (2, 1, 0)
    assert stream.sent_s == 10.0


def test_lost_while_results_were_owed_after_stop() -> None:
    server = Script(
        (None, saying(active(0.0), inactive(1.0), active(8.0), inactive(9.0), final(0.0, 1.0), abort=True)),
        (None, saying(active(0.0), inactive(1.0), final(0.0, 1.0, text="end"))),
    )
    events, _, _ = run(server)
    assert server.sessions[1].audio == TEN_SECONDS[8 * 32_000 :]
    assert server.sessions[1].texts[-1]["request"] == "stop"
    assert events[-1] == Segment(8.0, 9.0, True, {"text": "end"})


def test_known_silence_is_not_sent_again() -> None:
    # Notices say that 9.5 s were processed; an utterance may still be announced up to 7 s late.
    progress = {"type": "progress", "received_s": 9.5, "processed_s": 9.5, "lag_s": 0, "real_time_factor": 0}
    server = Script((300_000, saying({**progress, "channel": 0}, abort=True)), (None, saying()))
    events, notices, _ = run(server)
    assert server.sessions[0].start["notices"] is True
    assert server.sessions[1].audio == TEN_SECONDS[int(2.5 * 32_000) :]
    assert events == []  # notices which nobody asked for are not shown
    assert notices[1].at_s == 2.5  # type: ignore[union-attr]


def test_notices_that_were_asked_for_go_on_the_streams_clock() -> None:
    started = {"type": "started", "session_id": "a", "model": "m", "limits": {}, "channel": 0}
    finished = {"type": "finished", "received_s": 8.0, "processed_s": 8.0, "results": 1, "errors": 0, "channel": 0}
    server = Script(
        (160_000, saying(started, active(0.0), inactive(2.0), final(0.0, 2.0), abort=True)),
        (None, saying(started, active(0.0), inactive(1.0), final(0.0, 1.0), finished)),
    )
    events, _, _ = run(server, notices=True)
    assert [type(event) for event in events].count(Started) == 2
    assert events[-1] == Finished(10.0, 10.0, 2, 0)


def test_the_simple_route_goes_on_where_its_cover_ends() -> None:
    server = simple_route_that_is_lost()
    events, _, stream = run(server, path="/api/v1/simple")
    assert server.sessions[1].audio == TEN_SECONDS[40_000:]
    assert [(event.start_time, event.end_time) for event in events if isinstance(event, Segment)] == [
        (0, 0.4),
        (0.4, 1.25),
        (1.25, 10.0),
    ]
    assert stream.check.n_results == 3


def test_a_channel_that_was_ahead_gets_nothing_twice_and_loses_nothing() -> None:
    source = TEN_SECONDS * 2
    server = one_channel_ahead()
    events, _, stream = run(server, source, format=STEREO)
    assert server.sessions[1].audio == source[2 * 64_000 :]
    finals = [(e.channel, e.start_time, e.output["text"]) for e in events if isinstance(e, Segment)]
    assert finals == [(0, 0.0, "a"), (1, 1.0, "b"), (1, 2.0, "c"), (0, 5.0, "d")]
    assert [(e.channel, e.time) for e in events if isinstance(e, Active)] == [(0, 0), (1, 1), (1, 2), (1, 2), (0, 5)]
    assert stream.check.n_results == 4


@pytest.mark.parametrize("notices", [False, True])
def test_ids_are_given_to_a_caller_who_asked_for_notices(notices: bool) -> None:
    told = {**active(0.1), "segment_id": 0}, {**inactive(1.0), "segment_id": 0}, {**final(0.1, 1.0), "segment_id": 0}
    events, _, _ = run(Script((None, saying(*told))), notices=notices)
    id = 0 if notices else UNSET
    assert events == [Active(0.1, 0, id), Inactive(1.0, 0, id), Segment(0.1, 1.0, True, {"count": 1}, 0, id)]


def test_what_the_backlog_could_not_hold_is_told() -> None:
    notices: list[Lost | Resumed] = []
    server = Script((310_000, saying(abort=True)), (None, saying()))
    blocks = iter([TEN_SECONDS[i : i + 3200] for i in range(0, 320_000, 3200)])
    run(server, blocks, reconnect=Reconnect(backlog_bytes=32_000, on_notice=notices.append))
    resumed = notices[1]
    assert isinstance(resumed, Resumed)
    assert resumed.gap_s == resumed.at_s > 8.0
    assert server.sessions[1].audio == TEN_SECONDS[int(resumed.at_s * 32_000) :]


@pytest.mark.parametrize("code", [1001, 1012, 1013])
def test_a_server_that_closes_for_a_while_is_come_back_to(code: int) -> None:
    server = Script((3200, saying(error("too much", "overloaded"), then=code)), (None, saying()))
    events, notices, stream = run(server)
    assert events == [Error("too much", "overloaded")]
    assert f"closed with {code}" in str(notices[0].error)  # type: ignore[union-attr]
    assert stream.check.n_errors == 0  # it stood for no result: everything was answered in the end


@pytest.mark.parametrize("code", [1000, 1008, 1009, 1011])
def test_what_would_happen_again_is_not_tried_again(code: int) -> None:
    with pytest.raises(ClosedError, match=f"closed with {code}"):
        run(Script((3200, saying(then=code))))


def test_without_reconnect_a_lost_connection_is_an_error() -> None:
    with pytest.raises(ClosedError, match="lost"):
        run(Script((3200, saying(abort=True))), reconnect=False)


def test_a_full_server_is_waited_for_as_long_as_it_asks() -> None:
    server = Script((None, saying()))
    _, notices, _ = run(server, refusing=refusing(503, 429, headers={"Retry-After": "17"}))
    assert [type(notice) for notice in notices] == [Lost, Lost, Resumed]
    assert [notice.wait_s for notice in notices if isinstance(notice, Lost)] == [17.0, 17.0]
    assert notices[2] == Resumed(0.0, 34.0, 0.0)
    assert server.sessions[0].audio == TEN_SECONDS


def test_a_refusal_that_will_not_pass_is_raised() -> None:
    with pytest.raises(RefusedError, match="401: server full"):
        run(Script(), refusing=refusing(401))


def test_it_gives_up_after_so_many_attempts_without_an_answer() -> None:
    notices: list[Lost | Resumed] = []
    silent = (3200, saying(abort=True))
    answering = (160_000, saying(active(0.0), inactive(1.0), final(0.0, 1.0), abort=True))
    server = Script(silent, silent, answering, silent, silent, silent, silent)
    with pytest.raises(ClosedError, match="lost"):
        run(server, reconnect=Reconnect(attempts=3, on_notice=notices.append))
    assert [notice.attempt for notice in notices if isinstance(notice, Lost)] == [1, 2, 1, 2, 3]


def test_waits_double_up_to_a_limit_and_are_spread() -> None:
    reconnect = Reconnect(first_wait_s=0.5, longest_wait_s=3.0)
    lost = ClosedError("lost", lost=True)
    for attempt, longest in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 3.0), (5000, 3.0)):
        waits = [wait_s(reconnect, lost, attempt) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        ("in an hour", 3500, 3600),
        (email.utils.formatdate(0, usegmt=True), 0, 0.5),
        ("soon", 0, 0.5),
        (None, 0, 0.5),
    ],
)
def test_both_forms_of_retry_after(header: str | None, low: float, high: float) -> None:
    if header == "in an hour":
        header = email.utils.formatdate(time.time() + 3600, usegmt=True)
    assert low <= wait_s(Reconnect(), RefusedError(503, "", header), 1) <= high


def test_what_is_worth_another_try() -> None:
    assert is_worth_another_try(ConnectError("refused"), was_connected=True)
    assert not is_worth_another_try(ConnectError("refused"), was_connected=False)
    assert not is_worth_another_try(RefusedError(403, ""), was_connected=True)
    assert not is_worth_another_try(ClosedError("given up"), was_connected=True)
    assert not is_worth_another_try(client.BadEvent("what?"), was_connected=True)


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"first_wait_s": -1}, {"first_wait_s": 9, "longest_wait_s": 8}, {"backlog_bytes": 0}]
)
def test_settings_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Reconnect(**options)


@contextlib.asynccontextmanager
async def breaking_wire(port: int, cut_after_bytes: list[int]) -> AsyncIterator[int]:
    """A port that leads to `port`. Each connection is cut after so many bytes of the client; the later ones hold."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, n_bytes: int | None) -> None:
        with contextlib.suppress(ConnectionError):
            while n_bytes is None or n_bytes > 0:
                if not (data := await reader.read(4096)):
                    break
                writer.write(data)
                await writer.drain()
                if n_bytes is not None:
                    n_bytes -= len(data)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = cut_after_bytes.pop(0) if cut_after_bytes else None
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.create_task(forward(reader, far_writer, limit)),
            asyncio.create_task(forward(far_reader, writer, None)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way, one in zip(ways, (writer, far_writer), strict=True):
            way.cancel()
            one.close() if limit is None else one.transport.abort()

    async with await asyncio.start_server(connection, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def over_a_breaking_wire(live: Any, route: str, cuts: list[int], source: client.Source) -> tuple[list[Event], int]:
    notices: list[Lost | Resumed] = []

    async def main() -> list[Event]:
        async with breaking_wire(live.port, list(cuts)) as port:
            reconnect = Reconnect(first_wait_s=0, longest_wait_s=0, on_notice=notices.append)
            addr = f"ws://127.0.0.1:{port}/api/v1/{route}"
            return [e async for e in client.stream(source, addr=addr, chunk_size=4000, reconnect=reconnect)]

    events = asyncio.run(asyncio.wait_for(main(), 60))
    return events, sum(isinstance(notice, Lost) for notice in notices)


CUTS = [[70_000], [90_000, 150_000], [20_000, 500, 0, 260_000]]


@pytest.mark.parametrize("cuts", CUTS)
def test_simple_all_audio_is_answered_once(serve: Any, cuts: list[int]) -> None:
    samples, rate = soundfile.read(recordings.path("demo"), dtype="int16")
    events, n_lost = over_a_breaking_wire(serve(), "simple", cuts, (samples, rate))
    assert n_lost == len(cuts)
    covered_s = 0.0
    for event in events:
        assert isinstance(event, Segment)
        assert event.start_time == pytest.approx(covered_s, abs=0.002)
        covered_s = event.end_time
    assert covered_s == pytest.approx(len(samples) / rate, abs=0.002)


@pytest.mark.parametrize("cuts", CUTS)
def test_segmented_the_same_utterances_as_over_a_good_wire(serve: Any, cuts: list[int]) -> None:
    live = serve(**{"vad.detector": "silero"})
    source = recordings.path("demo")
    good, n_lost = over_a_breaking_wire(live, "segmented", [], source)
    assert n_lost == 0
    broken, n_lost = over_a_breaking_wire(live, "segmented", cuts, source)
    assert n_lost == len(cuts)

    def finals(events: list[Event]) -> list[tuple[float, float]]:
        return [(e.start_time, e.end_time) for e in events if isinstance(e, Segment)]

    assert len(finals(good)) > 3
    assert np.array(finals(broken)) == pytest.approx(np.array(finals(good)), abs=0.2)


def test_the_old_name_of_on_notice_still_works() -> None:
    notices: list[Any] = []
    with pytest.warns(DeprecationWarning, match="use on_notice"):
        reconnect = Reconnect(told=notices.append)
    reconnect.notify(Resumed(1.0, 2.0, 0.0))
    assert notices == [Resumed(1.0, 2.0, 0.0)]
    assert reconnect.on_notice == notices.append
