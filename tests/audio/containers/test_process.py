"""A decoder process that fails takes its own streams with it, and no others."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from helpers.media import decoded, live_speech, with_decoders
from helpers.processes import gone

pytest.importorskip("av")


@with_decoders(processes=2)
async def test_a_decoder_that_crashes_fails_its_own_streams_and_is_replaced(decoders):
    data = live_speech("mp3")
    streams = [decoders.open("mp3") for _ in range(4)]
    for stream in streams:
        assert [piece async for piece in stream.push(data[:6000])] != []
    victim, other = decoders.pids
    os.kill(victim, signal.SIGKILL)
    assert await asyncio.to_thread(gone, victim)
    results = [await decoded(stream, [data[6000:]]) for stream in streams]
    errors = [error for _, error in results]
    assert [error.code for error in errors if error is not None] == ["decoder_failed"] * 2
    assert errors.count(None) == 2
    assert decoders.pids == [other]
    again = [decoders.open("mp3") for _ in range(2)]
    for stream in again:
        assert [piece async for piece in stream.push(data[:6000])] != []
    assert len(set(decoders.pids) - {victim}) == 2
    for stream in again:
        assert (await decoded(stream, [data[6000:]]))[1] is None


@with_decoders(processes=1, timeout_s=0.5)
async def test_a_decoder_that_hangs_is_killed(decoders):
    data = live_speech("mp3")
    stream = decoders.open("mp3")
    assert [piece async for piece in stream.push(data[:6000])] != []
    (pid,) = decoders.pids
    os.kill(pid, signal.SIGSTOP)
    _, error = await decoded(stream, [data[6000:]])
    assert error is not None
    assert (error.code, str(error)) == ("decoder_failed", "the decoder gave no answer within 0.5 s")
    assert await asyncio.to_thread(gone, pid)
    assert decoders.pids == []


@with_decoders(processes=1)
async def test_a_process_ends_with_its_server(decoders):
    stream = decoders.open("mp3")
    assert [piece async for piece in stream.push(live_speech("mp3")[:6000])] != []
    (pid,) = decoders.pids
    await decoders.close()
    assert await asyncio.to_thread(gone, pid)
    _, error = await decoded(stream, [live_speech("mp3")[6000:]])
    assert error is not None
    assert error.code == "decoder_failed"


@with_decoders(processes=2, idle_s=0.0)
async def test_a_process_without_streams_ends(decoders):
    data = live_speech("mp3")
    first, second = decoders.open("mp3"), decoders.open("mp3")
    for stream in (first, second):
        assert [piece async for piece in stream.push(data[:6000])] != []
    idle, busy = decoders.pids
    first.close()
    assert await asyncio.to_thread(gone, idle)
    assert decoders.pids == [busy]
    assert (await decoded(second, [data[6000:]]))[1] is None
    assert await asyncio.to_thread(gone, busy)
    assert decoders.pids == []
    assert (await decoded(decoders.open("mp3"), [b"ID3 and no more"]))[1] is not None
    assert (await decoded(decoders.open("mp3"), [data]))[1] is None  # and starts again


@with_decoders(processes=1, idle_s=600.0)
async def test_a_process_that_is_needed_again_stays(decoders):
    data = live_speech("mp3")
    assert (await decoded(decoders.open("mp3"), [data]))[1] is None
    (pid,) = decoders.pids
    stream = decoders.open("mp3")
    assert [piece async for piece in stream.push(data[:6000])] != []
    assert decoders.pids == [pid]
    stream.close()
