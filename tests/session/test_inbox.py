"""The inbox: order, bounds, and what happens to its task."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from helpers.jumping_loop import run
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import KeepAlive, Start
from voxgate.runtime.logs import LogContext
from voxgate.session.inbox import (
    INBOX_BYTES,
    INBOX_MAX_BYTES,
    MESSAGE_BYTES,
    READ_ON_BYTES,
    READ_ON_S,
    START_BYTES,
    Inbox,
    cost_bytes,
)


class Owner:
    """Handles a message each time that the test lets it."""

    def __init__(self) -> None:
        self.handled: list[Any] = []
        self.notes: list[str] = []
        self.turns = asyncio.Semaphore(0)
        self.inbox: Inbox[Any] = Inbox(
            self.handle, lambda: self.notes.append("idle"), lambda: self.notes.append("failed"), LogContext()
        )

    async def handle(self, message: Any) -> bool:
        await self.turns.acquire()
        if isinstance(message, Exception):
            raise message
        self.handled.append(message)
        return message != "last"

    async def go(self, n: int = 1) -> None:
        for _ in range(n):
            self.turns.release()
        for _ in range(5):
            await asyncio.sleep(0)


def test_one_at_a_time_in_order() -> None:
    async def main() -> None:
        owner = Owner()
        for number in range(3):
            owner.inbox.put(number)
        await owner.go(2)
        assert (owner.handled, owner.notes) == ([0, 1], [])
        assert owner.inbox.task is not None
        await owner.go()
        assert (owner.handled, owner.notes) == ([0, 1, 2], ["idle"])
        assert owner.inbox.task is None
        owner.inbox.put(3)
        await owner.go()
        assert (owner.handled, owner.notes) == ([0, 1, 2, 3], ["idle", "idle"])

    run(main())


def test_a_message_may_be_the_last() -> None:
    async def main() -> None:
        owner = Owner()
        owner.inbox.put("last")
        owner.inbox.put("after it")
        await owner.go(2)
        assert (owner.handled, owner.notes) == (["last"], ["idle"])

    run(main())


def test_an_exception_goes_to_the_owner() -> None:
    async def main() -> None:
        owner = Owner()
        owner.inbox.put(ZeroDivisionError())
        await owner.go()
        assert owner.notes == ["failed", "idle"]

    run(main())


def test_it_is_full_by_bytes_and_has_room_again() -> None:
    async def main() -> None:
        owner = Owner()
        data = bytes(1024 - MESSAGE_BYTES)
        for _ in range(INBOX_BYTES // 1024 - 1):
            owner.inbox.put(data)
        assert not owner.inbox.is_full
        owner.inbox.put(data)
        assert owner.inbox.is_full
        waiting = asyncio.create_task(owner.inbox.wait_for_room())
        await asyncio.sleep(0)
        await owner.go()  # the first is being handled, and counts no more
        assert waiting.done()
        assert not owner.inbox.is_full
        owner.inbox.close()

    run(main())


def test_reading_goes_on_slowly_up_to_the_last_bound() -> None:
    """A little every few seconds, so that pings are answered; then no more."""

    async def main() -> None:
        owner, loop = Owner(), asyncio.get_running_loop()
        owner.inbox.put(b"")
        await owner.go(0)  # it is being handled from now on, and counts no more
        began_s, n_bytes = loop.time(), 0
        while n_bytes < INBOX_MAX_BYTES:
            while not owner.inbox.is_full:
                owner.inbox.put(bytes(READ_ON_BYTES - MESSAGE_BYTES))
                n_bytes += READ_ON_BYTES
            if n_bytes < INBOX_MAX_BYTES:
                await owner.inbox.wait_for_room()
        assert loop.time() - began_s == pytest.approx(READ_ON_S * (n_bytes - INBOX_BYTES) / READ_ON_BYTES)
        waiting = asyncio.create_task(owner.inbox.wait_for_room())
        await asyncio.sleep(10_000)
        assert not waiting.done()
        owner.inbox.clear()
        await waiting
        owner.inbox.close()

    run(main())


def test_close_drops_everything_and_forgets_its_owner() -> None:
    async def main() -> None:
        owner = Owner()
        owner.inbox.put("a")
        owner.inbox.put("b")
        await asyncio.sleep(0)
        task = owner.inbox.task
        assert task is not None
        owner.inbox.close()
        await asyncio.wait([task])
        assert task.cancelled()
        assert (owner.handled, owner.notes) == ([], [])
        gone = weakref.ref(owner)
        del owner, task
        await asyncio.sleep(0)
        assert gone() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_close_before_the_task_has_run_leaves_no_circle() -> None:
    class Watched(Inbox[Any]):
        __slots__ = ("__weakref__",)

    async def main() -> None:
        async def handle(message: Any) -> bool:
            raise AssertionError("it must not run")

        inbox = Watched(handle, lambda: None, lambda: None, LogContext())
        inbox.put("a")
        inbox.close()
        gone = weakref.ref(inbox)
        del inbox
        for _ in range(3):
            await asyncio.sleep(0)
        assert gone() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_what_a_message_costs() -> None:
    start = Start(AudioFormat(1, 16_000, 16, False), trace_id="t" * 1000, token="x" * 500)
    assert cost_bytes(b"abc") == MESSAGE_BYTES + 3
    assert cost_bytes(KeepAlive()) == MESSAGE_BYTES
    assert cost_bytes(start) == START_BYTES + 4 * 1500
