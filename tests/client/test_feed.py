"""The audio on its way out: in order, again from anywhere that is kept, and nothing lost to a cancelled caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.client.feed import Feed


async def rest(feed: Feed) -> bytes:
    out = b""
    while (block := await feed.next()) is not None:
        out += block
    return out


@given(st.lists(st.binary(max_size=9), max_size=12), st.integers(1, 40), st.data())
def test_again_from_anywhere_that_is_kept(blocks: list[bytes], keep_bytes: int, data: st.DataObject) -> None:
    whole = b"".join(blocks)

    async def source() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    async def main() -> None:
        feed = Feed(source(), keep_bytes)
        for _ in range(data.draw(st.integers(0, len(blocks)))):
            await feed.next()
        forgotten = 0
        for _ in range(2):
            assert feed.oldest_bytes <= max(0, forgotten, feed.end_bytes - keep_bytes)
            forgotten = max(forgotten, data.draw(st.integers(0, feed.end_bytes)))
            feed.forget(forgotten)
            at = data.draw(st.integers(feed.oldest_bytes, feed.end_bytes))
            feed.rewind(at)
            assert await rest(feed) == whole[at:]
            assert feed.end_bytes == len(whole)
        await feed.aclose()

    asyncio.run(main())


def test_what_is_kept_is_bounded_by_whole_blocks() -> None:
    async def main() -> None:
        feed = Feed(iter([bytes(10)] * 50), keep_bytes=25)
        await rest(feed)
        assert feed.oldest_bytes == 470
        with pytest.raises(ValueError, match=r"470\.\.500, got 469"):
            feed.rewind(469)
        await feed.aclose()
        nothing = Feed(iter([bytes(10)] * 50), keep_bytes=0)
        await rest(nothing)
        assert nothing.oldest_bytes == 500
        await nothing.aclose()

    asyncio.run(main())


def test_a_cancelled_caller_loses_no_audio() -> None:
    async def main() -> None:
        asked, go = asyncio.Event(), asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            asked.set()
            await go.wait()
            yield b"ab"
            yield b"cd"

        feed = Feed(source(), keep_bytes=100)
        caller = asyncio.create_task(feed.next())
        await asked.wait()
        caller.cancel()
        await asyncio.wait((caller,))
        go.set()
        assert await rest(feed) == b"abcd"
        await feed.aclose()

    asyncio.run(main())


def test_a_buffer_that_its_maker_uses_again_is_copied() -> None:
    buffer = bytearray(4)

    def source() -> Iterator[bytes]:
        for i in range(3):
            buffer[:] = bytes([i] * 4)
            yield buffer  # type: ignore[misc]

    async def main() -> None:
        feed = Feed(source(), keep_bytes=100)
        first = await rest(feed)
        feed.rewind(0)
        assert await rest(feed) == bytes([0] * 4 + [1] * 4 + [2] * 4)
        assert len(first) == 12
        await feed.aclose()

    asyncio.run(main())


def test_the_sources_failure_is_raised_and_closing_ends_it() -> None:
    closed = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"ab"
            raise LookupError("it broke")
        finally:
            closed.append(True)

    async def main() -> None:
        feed = Feed(source(), keep_bytes=0)
        assert await feed.next() == b"ab"
        with pytest.raises(LookupError, match="it broke"):
            await feed.next()
        waiting = Feed(endless(), keep_bytes=0)
        caller = asyncio.create_task(waiting.next())
        await started.wait()
        caller.cancel()
        await waiting.aclose()
        assert closed == [True, True]

    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            started.set()
            await asyncio.Event().wait()
            yield b""
        finally:
            closed.append(True)

    asyncio.run(main())
