"""The line between a server process and its supervisor."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.server.lifeline import BEATS, Lifeline, ReportReader


@pytest.fixture
def line():
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    with ours, theirs:
        yield ours, theirs


@given(st.lists(st.none() | st.text()), st.data())
def test_reports_and_beats_in_pieces_of_any_size(failures, data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lifeline = Lifeline(theirs, 60.0)
        lifeline.beat()
        for failure in failures:
            lifeline.report(failure)
            lifeline.beat()
        sent = ours.recv(1 << 20)
    reader, received, pos = ReportReader(), [], 0
    while pos < len(sent):
        n_bytes = data.draw(st.integers(1, len(sent) - pos))
        received += reader.feed(sent[pos : pos + n_bytes])
        pos += n_bytes
    assert received == failures


def test_a_beat_does_not_wait_for_a_supervisor_that_reads_nothing(line):
    _, theirs = line
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    lifeline = Lifeline(theirs, 60.0)
    for _ in range(10_000):
        lifeline.beat()


def test_without_a_timeout_there_are_no_beats(line):
    ours, theirs = line
    lifeline = Lifeline(theirs, 0)
    assert lifeline.interval_s is None
    asyncio.run(lifeline.run())
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_beats_come_from_the_waiting_thread_until_the_loop_sends_them(line):
    ours, theirs = line
    lifeline = Lifeline(theirs, BEATS * 0.01)
    waiting = threading.Thread(target=lifeline.wait_closed)
    waiting.start()
    assert ours.recv(1) == b"\n"

    async def main() -> None:
        beating = asyncio.ensure_future(lifeline.run())
        await asyncio.sleep(0)
        assert await asyncio.to_thread(ours.recv, 1) == b"\n"
        beating.cancel()

    asyncio.run(main())
    ours.close()
    waiting.join(30)
    assert not waiting.is_alive()
