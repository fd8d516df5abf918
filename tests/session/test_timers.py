"""Timers on a loop whose clock jumps: every time is exact."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from helpers.jumping_loop import run
from voxgate.config import LimitsSettings
from voxgate.session.timers import PROGRESS_S, STALL_SURE_S, Timers

LIMITS = LimitsSettings(start_timeout_s=10.0, idle_timeout_s=60.0, session_s=1000.0)


class Watch:
    """Notes when each timer fired, in seconds since the start."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.began_s = self.last_message_s = self.last_audio_s = self.loop.time()
        self.timeout_kind: Literal["start", "idle"] = "start"
        self.is_waited_for = self.is_handling = self.is_speaking = False
        self.goes_on = True
        self.fired: list[tuple[str, float]] = []

    @property
    def now_s(self) -> float:
        return round(self.loop.time() - self.began_s, 3)

    def on_silence(self, kind: Any) -> None:
        self.fired.append((kind, self.now_s))

    def on_end_of_life(self) -> None:
        self.fired.append(("life", self.now_s))

    def on_stall(self) -> bool:
        self.fired.append(("stall", self.now_s))
        self.is_speaking = False
        return self.goes_on

    def on_progress(self) -> None:
        self.fired.append(("progress", self.now_s))


def test_a_client_that_never_starts() -> None:
    async def main() -> None:
        watch = Watch()
        Timers(watch, LIMITS, 0.0)
        await asyncio.sleep(5)
        watch.last_message_s = watch.loop.time()  # a message alone does not reset the start timer
        await asyncio.sleep(2000)
        assert watch.fired == [("start", 10), ("life", 1000)]

    run(main())


def test_every_message_resets_the_idle_timer() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 0.0)
        watch.timeout_kind = "idle"
        timers.open_session(with_progress=False)
        await asyncio.sleep(40)
        watch.last_message_s = watch.loop.time()
        await asyncio.sleep(200)
        assert watch.fired == [("idle", 100)]
        timers.close()

    run(main())


def test_a_client_that_waits_for_the_server_is_not_idle() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 0.0)
        watch.timeout_kind, watch.is_waited_for = "idle", True
        timers.open_session(with_progress=False)
        await asyncio.sleep(500)
        assert watch.fired == []
        watch.is_waited_for = False
        watch.last_message_s = watch.loop.time()
        await asyncio.sleep(100)
        assert watch.fired == [("idle", 560)]
        timers.close()

    run(main())


def test_an_utterance_whose_audio_stops() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 2.0)
        timers.open_session(with_progress=False)
        watch.is_speaking = True
        await asyncio.sleep(1.5)
        watch.last_audio_s = watch.loop.time()
        await asyncio.sleep(6)
        assert watch.fired == [("stall", 3.5 + STALL_SURE_S)]
        timers.close()

    run(main())


def test_audio_in_the_inbox_has_not_stopped() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 2.0)
        timers.open_session(with_progress=False)
        watch.is_speaking = watch.is_handling = True
        await asyncio.sleep(9)
        assert watch.fired == []
        watch.is_handling = False
        await asyncio.sleep(2)
        assert watch.fired == [("stall", 10 + STALL_SURE_S)]
        timers.close()

    run(main())


def test_a_session_that_a_stall_ends_has_no_timer_left() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 2.0)
        timers.open_session(with_progress=False)
        watch.is_speaking, watch.goes_on = True, False
        await asyncio.sleep(3)
        watch.is_speaking = True
        await asyncio.sleep(6)
        assert watch.fired == [("stall", 2 + STALL_SURE_S)]
        timers.close()

    run(main())


def test_progress_every_second_while_a_session_is_open() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 0.0)
        timers.open_session(with_progress=True)
        await asyncio.sleep(3.5 * PROGRESS_S)
        timers.close_session()
        timers.close_session()
        await asyncio.sleep(5)
        assert watch.fired == [("progress", 1), ("progress", 2), ("progress", 3)]
        timers.close()

    run(main())


def test_progress_as_often_as_a_wire_wants() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 0.0, progress_s=0.25)
        timers.open_session(with_progress=True)
        await asyncio.sleep(0.6)
        assert watch.fired == [("progress", 0.25), ("progress", 0.5)]
        timers.close()

    run(main())


def test_nothing_fires_after_close() -> None:
    async def main() -> None:
        watch = Watch()
        timers = Timers(watch, LIMITS, 2.0)
        timers.open_session(with_progress=True)
        timers.close()
        watch.is_speaking = True
        await asyncio.sleep(5000)
        assert watch.fired == []

    run(main())
