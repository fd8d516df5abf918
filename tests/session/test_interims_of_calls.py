"""Interim results of running calls, and the end of calls that nobody needs, through a whole server."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

import numpy as np
import pytest

from helpers.wire import STOP, Client, encode, of_type, start
from voxgate import Model

WAIT_S = 30
PIECE = encode(np.zeros((1, 8000), np.float32))


class Turns:
    """Lets the test decide when a generator yields, and how often."""

    def __init__(self, n: int = 3) -> None:
        self.n = n
        self.go_on = threading.Semaphore(0)
        self.ended: queue.SimpleQueue[str] = queue.SimpleQueue()


def plain(turns: Turns) -> Any:
    def words(audio: np.ndarray) -> Any:
        try:
            for n in range(turns.n):
                assert turns.go_on.acquire(timeout=WAIT_S)
                yield {"n": n}
            turns.ended.put("returned")
        except GeneratorExit:
            turns.ended.put("closed")
            raise

    return words


def asynchronous(turns: Turns) -> Any:
    async def words(audio: np.ndarray) -> Any:
        try:
            for n in range(turns.n):
                assert await asyncio.to_thread(turns.go_on.acquire, timeout=WAIT_S)
                yield {"n": n}
            turns.ended.put("returned")
        except (GeneratorExit, asyncio.CancelledError):
            turns.ended.put("closed")
            raise

    return words


@pytest.mark.parametrize("make", [plain, asynchronous])
def test_clients_that_asked_see_them_while_the_call_runs(serve: Any, make: Any) -> None:
    turns = Turns()
    server = serve(make(turns), **{"inference.warm_up": False, "inference.interims_per_s": 1000})
    with Client(server.url("simple")) as client:
        client.send(start(interim_results=True), PIECE)
        for n in range(2):
            turns.go_on.release()
            (interim,) = of_type(client.until("segment"), "segment")
            assert (interim["n"], interim["is_final"]) == (n, False)
        turns.go_on.release()
        client.send(STOP)
        *_, result = of_type(client.rest(), "segment")
        assert result["n"] == 2
        assert "is_final" not in result
    assert turns.ended.get(timeout=WAIT_S) == "returned"


def test_clients_that_did_not_ask_see_the_result_alone(serve: Any) -> None:
    turns = Turns()
    turns.go_on.release(3)
    with Client(serve(plain(turns), **{"inference.warm_up": False}).url("simple")) as client:
        client.send(start(), PIECE, STOP)
        assert [event["n"] for event in of_type(client.rest(), "segment")] == [2]


@pytest.mark.parametrize("make", [plain, asynchronous])
def test_a_generator_is_closed_when_its_client_is_gone(serve: Any, make: Any) -> None:
    turns = Turns(n=1_000_000)
    server = serve(make(turns), **{"inference.warm_up": False})
    with Client(server.url("simple")) as client:
        client.send(start(interim_results=True), PIECE)
        turns.go_on.release()
        client.until("segment")
    while turns.ended.empty():  # A generator on a thread is closed at its next yield after the server knows.
        turns.go_on.release()
    assert turns.ended.get() == "closed"


class Hangs(Model):
    def __init__(self) -> None:
        self.cancelled: queue.SimpleQueue[None] = queue.SimpleQueue()

    async def infer(self, audio: np.ndarray) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.put(None)
            raise


def test_a_coroutine_is_cancelled_at_its_deadline(serve: Any) -> None:
    model = Hangs()
    server = serve(model, **{"inference.warm_up": False, "inference.deadline_s": 0.1})
    with Client(server.url("simple")) as client:
        client.send(start(), PIECE, STOP)
        (error,) = of_type(client.rest(), "error")
    assert error["message"] == "The model gave no answer within 0.1 s"
    model.cancelled.get(timeout=WAIT_S)
