"""The worker's side, without a process of its own."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from voxgate.errors import InferenceError, InternalError
from voxgate.inference.engine import worker
from voxgate.inference.engine.arena import SharedArena
from voxgate.inference.engine.channel import (
    Answer,
    Channel,
    ChannelClosed,
    Loaded,
    Prepare,
    Quit,
    Record,
    Refused,
    Run,
    Trial,
    Warm,
)
from voxgate.inference.engine.worker import decode_outcome, encode_outcome


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    """The server's end and the worker's."""
    ours, theirs = map(Channel, socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


class Quiet:
    """In place of the log of a worker: these tests share their process with it."""

    def live(self) -> None: ...

    def hold(self) -> None: ...


def test_a_conversation(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    arena = SharedArena()
    arena.resize(4096)
    thread = threading.Thread(
        target=worker._serve, args=(theirs, Quiet(), "helpers.worker_models:Together", {"directory": ""}, arena.fd)
    )
    thread.start()
    assert ours.receive() == Loaded("together", 8_000, None, False, True, False)
    ours.send(Prepare(4096, True))
    assert ours.receive() == Warm()
    ours.send(Trial(2))
    answer = ours.receive()
    assert isinstance(answer, Answer)
    assert len(answer.outcomes) == 2
    np.frombuffer(arena.memory, np.float32, 6)[:] = [0, 1, 1, 0, 2, 9]
    ours.send(Run([3, 2]))
    answer = ours.receive()
    assert isinstance(answer, Answer)
    assert [decode_outcome(raw) for raw in answer.outcomes] == [
        {"count": 3, "sum": 2.0, "of": 2},
        {"count": 2, "sum": 2.0, "of": 2},
    ]
    ours.send(Quit())
    thread.join(30)
    assert not thread.is_alive()
    arena.close()


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ("helpers.worker_models:Nothing", {}, "no attribute 'Nothing'"),
        ("helpers.worker_models:Fatal", {"where": "error"}, "warm-up of model 'Fatal' failed: OSError: no weights"),
    ],
)
def test_a_model_that_will_not_start_is_refused(
    channels: tuple[Channel, Channel], spec: str, options: Any, text: str
) -> None:
    ours, theirs = channels
    arena = SharedArena()
    arena.resize(4)
    ours.send(Prepare(4, True))
    worker._serve(theirs, Quiet(), spec, options, arena.fd)  # type: ignore[arg-type]
    answer = ours.receive()
    if isinstance(answer, Loaded):
        answer = ours.receive()
    assert isinstance(answer, Refused)
    assert text in answer.text
    arena.close()


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"a": np.float64(0.1), "b": np.zeros((1, 2), np.int8)}, {"a": 0.1, "b": [[0, 0]]}),
        ({}, {}),
        (None, None),
        ({"x": {1: "one"}, "d": Decimal("1.5")}, {"x": {1: "one"}, "d": "1.5"}),
    ],
)
def test_results_cross(result: Any, expected: Any) -> None:
    assert decode_outcome(encode_outcome(result)) == expected


@pytest.mark.parametrize("error", [InferenceError("no ü"), InternalError("Internal server error")])
def test_errors_cross_with_their_text(error: Any) -> None:
    crossed = decode_outcome(encode_outcome(error))
    assert type(crossed) is type(error)
    assert str(crossed) == str(error)


class Exits:
    def tolist(self) -> Any:
        raise SystemExit("no list")


def test_a_value_that_raises_whatever_it_likes_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(decode_outcome(encode_outcome({"x": Exits()})), InternalError)
    assert "cannot leave its worker process: no list" in caplog.text


@pytest.mark.parametrize(
    "result", [{"x": object()}, {"x": 1 << 70}, {"x": "\ud800"}, {"x": {(1, 2): 3}}, {"x": {(): 1}}]
)
def test_what_cannot_cross_is_an_internal_error_and_logged(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    outcome = decode_outcome(encode_outcome(result))
    assert isinstance(outcome, (InternalError, dict))
    if isinstance(outcome, InternalError):
        assert str(outcome) == "Internal server error"
        assert "cannot" in caplog.text


def test_log_records_wait_while_the_server_does_not_listen(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    handler = worker._SentLog(theirs)
    logger = logging.Logger("some.where", logging.INFO)
    logger.addHandler(handler)
    logger.warning("first %s", "of all")
    handler.live()
    logger.info("second")
    logger.debug("not this")
    try:
        raise KeyError("lost")
    except KeyError:
        logger.exception("third")
    handler.hold()
    logger.info("fourth")
    theirs.send(Warm())
    handler.live()
    records = [ours.receive() for _ in range(5)]
    assert records[0] == Record("some.where", logging.WARNING, "first of all", "")
    assert records[1] == Record("some.where", logging.INFO, "second", "")
    assert isinstance(records[2], Record)
    assert "KeyError: 'lost'" in records[2].stack
    assert records[3] == Warm()
    assert records[4] == Record("some.where", logging.INFO, "fourth", "")


def test_log_records_that_wait_are_bounded_and_a_lost_server_is_no_error(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    handler = worker._SentLog(theirs)
    logger = logging.Logger("some.where")
    logger.addHandler(handler)
    for n in range(worker._MOST_RECORDS + 5):
        logger.warning("%d", n)
    assert len(handler._waiting) == worker._MOST_RECORDS
    assert handler._waiting[0].text == "5"
    ours.close()
    handler.live()
    with pytest.raises(ChannelClosed):
        theirs.send(Warm())


def test_a_worker_without_its_server_ends_at_once() -> None:
    start = "import pickle, sys; from voxgate.inference.engine.worker import main; main('dummy', {}, 0, 0, 1 << 30, {})"
    ended = subprocess.run([sys.executable, "-c", start], stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert ended.returncode == 1
