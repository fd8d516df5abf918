"""Events leave in order, with the close last, however slowly the client reads."""

from __future__ import annotations

import asyncio

from voxgate.config import LimitsSettings
from voxgate.observe.metrics import Tally
from voxgate.protocol.closing import Close, CloseReason
from voxgate.session.send_queue import SendQueue, utf8_bytes

TIMEOUT = Close(CloseReason.TIMEOUT, "timeout")


class Slow:
    """A client that takes one message each time that the test lets it, and `n_at_once` without being asked to wait."""

    def __init__(self, n_at_once: int = 0) -> None:
        self.taken: list[str | bytes | Close] = []
        self.reads = asyncio.Semaphore(0)
        self.n_at_once = n_at_once

    def write(self, message: str | bytes) -> bool:
        if self.n_at_once == 0:
            return False
        self.n_at_once -= 1
        self.taken.append(message)
        return True

    async def send(self, message: str | bytes) -> None:
        await self.reads.acquire()
        self.taken.append(message)

    async def close(self, close: Close) -> None:
        self.taken.append(close)


def run(limits: LimitsSettings, scenario, n_events: int | None = None) -> Tally:
    """`n_events`: how many there are; by default one for each message that was sent."""

    async def main() -> Tally:
        tally, sink, n_sent = Tally(), Slow(), []
        queue = SendQueue(sink, limits, tally, lambda: n_sent.append(len(sink.taken)))
        writing = asyncio.create_task(queue.write())
        await asyncio.sleep(0)
        await scenario(queue, sink, writing)
        await writing
        if n_events is None:
            assert n_sent == list(range(1, len(sink.taken)))
        else:
            assert len(n_sent) == n_events
        return tally

    return asyncio.run(main())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_everything_leaves_in_order_and_the_close_frame_last():
    async def scenario(queue, sink, writing):
        queue.put(("a",))
        await turns()
        queue.put(("grüße",))
        queue.close(TIMEOUT)
        queue.put(("c",))
        sink.reads.release()
        await turns()
        assert sink.taken == ["a"]
        assert not writing.done()
        sink.reads.release()
        sink.reads.release()
        await turns()
        assert sink.taken == ["a", "grüße", "c", TIMEOUT]

    tally = run(LimitsSettings(), scenario)
    assert (tally.text_out, tally.text_out_bytes) == (3, 1 + 7 + 1)


def test_bounds_come_in_pairs():
    async def scenario(queue, sink, writing):
        seen = []
        for _ in range(5):  # one is in the sink's hands, four wait
            queue.put(("x",))
            await turns()
            seen.append((len(queue), queue.is_full, queue.has_room))
        for _ in range(3):
            sink.reads.release()
            await turns()
            seen.append((len(queue), queue.is_full, queue.has_room))
        assert seen == [
            *((0, False, True), (1, False, True), (2, False, False), (3, False, False), (4, True, False)),
            *((3, False, False), (2, False, False), (1, False, True)),
        ]
        sink.reads.release()
        sink.reads.release()
        queue.close(Close(CloseReason.COMPLETED))

    run(LimitsSettings(unsent_events=4), scenario)


def test_bytes_are_bounded_too():
    async def scenario(queue, sink, writing):
        queue.put(("x" * 23,))
        await turns()  # in the sink's hands now, and counted until the sink has taken it
        queue.put(("€" * 333 + "x",))  # 1000 bytes of UTF-8
        assert not queue.is_full
        queue.put(("x",))
        assert queue.is_full
        for _ in range(2):
            sink.reads.release()
        await turns()
        assert queue.has_room
        sink.reads.release()
        await turns()
        queue.put(("é" * 255,))
        assert queue.has_room
        queue.put(("é",))
        assert not queue.has_room
        sink.reads.release()
        sink.reads.release()
        queue.close(Close(CloseReason.COMPLETED))

    run(LimitsSettings(unsent_bytes=1024), scenario)


def test_an_event_of_several_messages_counts_once():
    async def scenario(queue, sink, writing):
        queue.put(("x",))
        await turns()
        queue.put(("head", b"body"))
        assert len(queue) == 1
        for _ in range(3):
            sink.reads.release()
        queue.close(TIMEOUT)
        await turns()
        assert sink.taken == ["x", "head", b"body", TIMEOUT]

    tally = run(LimitsSettings(), scenario, n_events=2)
    assert (tally.text_out, tally.text_out_bytes, tally.binary_out, tally.binary_out_bytes) == (2, 5, 1, 4)


def test_bytes_on_the_wire():
    assert [utf8_bytes(text) for text in ("", "abc", "ü", "\ud800")] == [0, 3, 2, 3]


def test_a_client_that_reads_gets_events_at_once_and_in_order() -> None:
    async def main() -> None:
        n_sent: list[int] = []
        sink, tally = Slow(n_at_once=3), Tally()
        queue = SendQueue(sink, LimitsSettings(), tally, lambda: n_sent.append(len(sink.taken)))
        queue.put(("a",))
        queue.put((b"bb", "c", "d"))  # its third message has to wait
        assert sink.taken == ["a", b"bb", "c"]
        assert (len(queue), n_sent) == (1, [])
        sink.n_at_once = 9
        queue.put(("e",))  # not past the event that waits
        assert sink.taken == ["a", b"bb", "c"]
        writing = asyncio.create_task(queue.write())
        await turns()
        queue.put(("f",))  # nor past one that the sink is taking
        sink.n_at_once, n_left = 0, sink.n_at_once
        for _ in range(3):
            sink.reads.release()
        await turns()
        assert sink.taken == ["a", b"bb", "c", "d", "e", "f"]
        assert n_left == 9
        sink.n_at_once = 1
        queue.put(("g",))
        assert sink.taken[-1] == "g"
        queue.close(TIMEOUT)
        sink.n_at_once = 1
        queue.put(("h",))  # behind the close it would be lost: it goes through the queue, in front of it
        sink.reads.release()
        await writing
        assert sink.taken == ["a", b"bb", "c", "d", "e", "f", "g", "h", TIMEOUT]
        assert len(n_sent) == 4
        assert (tally.text_out, tally.binary_out, tally.text_out_bytes, tally.binary_out_bytes) == (7, 1, 7, 2)

    asyncio.run(main())
