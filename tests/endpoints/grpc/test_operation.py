from __future__ import annotations

import asyncio

import grpc.aio
import pytest

from voxgate.endpoints.grpc.operation import GONE, run


def test_an_operation_that_nobody_waits_for_goes_on_to_its_end():
    """Only then does grpc.aio free its memory, and that of a message which it has received meanwhile."""
    steps: list[str] = []

    async def main() -> None:
        arrives = asyncio.Event()

        async def read() -> bytes:
            steps.append("begun")
            try:
                await arrives.wait()
            finally:
                steps.append("received" if arrives.is_set() else "cancelled")
            return b"late"

        task = asyncio.create_task(run(read))
        while not steps:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["begun"]
        arrives.set()
        while len(steps) == 1:
            await asyncio.sleep(0)
        assert steps == ["begun", "received"]

    asyncio.run(main())


def test_the_result_and_the_end_of_a_call():
    async def echo(*arguments: int) -> tuple[int, ...]:
        return arguments

    async def fail() -> None:
        raise grpc.aio.UsageError("the call is over")

    async def main() -> None:
        assert await run(echo, 1, 2) == (1, 2)
        assert await run(fail) is GONE
        with pytest.raises(ZeroDivisionError):
            await run(divide)

    async def divide() -> float:
        return 1 / 0

    asyncio.run(main())
