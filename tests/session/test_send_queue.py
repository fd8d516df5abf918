"""What is said leaves in order, with the close frame last, however slowly the client reads."""

from __future__ import annotations

import asyncio

from voxgate.config import LimitsSettings
from voxgate.observe.metrics import Tally
from voxgate.protocol.machine import Close
from voxgate.session.send_queue import SendQueue, utf8_bytes


class Slow:
    """A client that takes one event each time it is told to."""

    def __init__(self) -> None:
        self.taken: list[str | tuple[int, str]] = []
        self.reads = asyncio.Semaphore(0)

    async def send(self, text: str) -> None:
        await self.reads.acquire()
        self.taken.append(text)

    async def close(self, code: int, reason: str) -> None:
        self.taken.append((code, reason))


def run(limits: LimitsSettings, scenario) -> Tally:
    async def main() -> Tally:
        tally, sink, n_sent = Tally(), Slow(), []
        outbox = SendQueue(sink, limits, tally, lambda: n_sent.append(len(sink.taken)))
        writing = asyncio.create_task(outbox.write())
        await asyncio.sleep(0)
        await scenario(outbox, sink, writing)
        await writing
        assert n_sent == list(range(1, len(sink.taken)))
        return tally

    return asyncio.run(main())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_everything_leaves_in_order_and_the_close_frame_last():
    async def scenario(outbox, sink, writing):
        outbox.put("a")
        await turns()
        outbox.put("grüße")
        outbox.close(Close(1008, "timeout"))
        outbox.put("c")
        sink.reads.release()
        await turns()
        assert sink.taken == ["a"]
        assert not writing.done()
        sink.reads.release()
        sink.reads.release()
        await turns()
        assert sink.taken == ["a", "grüße", "c", (1008, "timeout")]

    tally = run(LimitsSettings(), scenario)
    assert (tally.text_out, tally.text_out_bytes) == (3, 1 + 7 + 1)


def test_bounds_come_in_pairs():
    async def scenario(outbox, sink, writing):
        seen = []
        for _ in range(5):  # one is in the sink's hands, four wait
            outbox.put("x")
            await turns()
            seen.append((len(outbox), outbox.is_full, outbox.has_room))
        for _ in range(3):
            sink.reads.release()
            await turns()
            seen.append((len(outbox), outbox.is_full, outbox.has_room))
        assert seen == [
            *((0, False, True), (1, False, True), (2, False, False), (3, False, False), (4, True, False)),
            *((3, False, False), (2, False, False), (1, False, True)),
        ]
        sink.reads.release()
        sink.reads.release()
        outbox.close(Close(1000, ""))

    run(LimitsSettings(unsent_events=4), scenario)


def test_bytes_are_bounded_too():
    async def scenario(outbox, sink, writing):
        outbox.put("x" * 23)
        await turns()  # in the sink's hands now, and counted until the sink has taken it
        outbox.put("€" * 333 + "x")  # 1000 bytes of UTF-8
        assert not outbox.is_full
        outbox.put("x")
        assert outbox.is_full
        for _ in range(2):
            sink.reads.release()
        await turns()
        assert outbox.has_room
        sink.reads.release()
        await turns()
        outbox.put("é" * 255)
        assert outbox.has_room
        outbox.put("é")
        assert not outbox.has_room
        sink.reads.release()
        sink.reads.release()
        outbox.close(Close(1000, ""))

    run(LimitsSettings(unsent_bytes=1024), scenario)


def test_bytes_on_the_wire():
    assert [utf8_bytes(text) for text in ("", "abc", "ü", "\ud800")] == [0, 3, 2, 3]
