"""The clock of the running loop."""

from __future__ import annotations

import asyncio

from voxgate.client.clock import LoopClock


def test_it_is_the_loop_s_time_and_a_past_time_needs_no_wait() -> None:
    async def main() -> None:
        clock, loop = LoopClock(), asyncio.get_running_loop()
        before_s = loop.time()
        assert before_s <= clock.time() <= loop.time()
        await clock.sleep_until(before_s - 1)

    asyncio.run(main())
