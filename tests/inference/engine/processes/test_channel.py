from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.messages import (
    Answer,
    Drop,
    Loaded,
    Message,
    Partial,
    Prepare,
    Quit,
    Record,
    Refused,
    Run,
    StateCall,
    Stop,
    Trial,
    Warm,
)
from voxgate.inference.engine.processes.outcomes import FailedCall, RefusedCall, SentResult
from voxgate.models.request import Request

MESSAGES: list[Message] = [
    Prepare(1 << 40, True),
    Trial(2),
    Run([3, 0, 1 << 33], [Request(options={"language": "de"}, channel=1), Request(), Request(identity="ü")]),
    Run([0], [Request()], 7, True, StateCall("finish", 3)),
    Drop([1, 2]),
    Stop(7),
    Quit(),
    Loaded("x", 16_000, None, True, False, False, True, {"type": "object"}, False, None),
    Refused("ü"),
    Warm(),
    Answer([SentResult(b'"a":null', None, []), RefusedCall("no"), FailedCall("ü"), None], True, ["bad"]),
    Answer([None], False, opened=True),
    Partial(SentResult(b"", None, [])),
    Record("a.b", 30, "text", ""),
]


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with theirs:
        yield channel, theirs
    channel.close()


def wire(*messages: Message) -> bytes:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours)
        for message in messages:
            channel.send(message)
        channel.close()
        return b"".join(iter(lambda: theirs.recv(65_536), b""))


def test_what_is_sent_is_received(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    other = Channel(theirs.dup())
    for message in MESSAGES:
        channel.send(message)
    assert [other.receive(float("inf")) for _ in MESSAGES] == MESSAGES
    other.close()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1000])
def test_messages_may_come_in_any_pieces(pair: tuple[Channel, socket.socket], size: int) -> None:
    channel, theirs = pair
    data = wire(*MESSAGES)

    def send() -> None:  # The socket does not hold all of them: each piece takes a page or so.
        for offset in range(0, len(data), size):
            theirs.sendall(data[offset : offset + size])

    sender = threading.Thread(target=send)
    sender.start()
    assert [channel.receive(1e9) for _ in MESSAGES] == MESSAGES
    sender.join()


def test_a_message_may_be_longer_than_the_socket_holds(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    other = Channel(theirs.dup())
    record = Record("x", 10, "y" * 5_000_000, "")
    sender = threading.Thread(target=other.send, args=(record,))
    sender.start()
    assert channel.receive() == record
    sender.join()
    other.close()


def test_time_runs_out_by_the_clock_it_was_given() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours, clock=lambda: 100.0)
        with pytest.raises(TimeoutError):
            channel.receive(100.0)
        theirs.sendall(wire(Warm()))
        assert channel.receive(100.5) == Warm()
        theirs.sendall(wire(Warm())[:-1])
        with pytest.raises(TimeoutError):
            channel.receive(99.0)
        channel.close()


@pytest.mark.parametrize("until_s", [1e9, float("inf")])
def test_what_was_said_before_the_end_is_heard(pair: tuple[Channel, socket.socket], until_s: float) -> None:
    channel, theirs = pair
    theirs.sendall(wire(Warm(), Quit()) + b"\x05")
    theirs.close()
    assert channel.receive(until_s) == Warm()
    assert channel.receive(until_s) == Quit()
    with pytest.raises(ChannelClosed):
        channel.receive(until_s)
    with pytest.raises(ChannelClosed):
        channel.send(Warm())


def test_a_death_is_noticed_while_somebody_else_keeps_the_channel_open() -> None:
    ours, theirs = socket.socketpair()
    alive, death = os.pipe()
    channel = Channel(ours, alive)
    theirs.sendall(wire(Warm()))
    os.close(death)
    assert channel.receive() == Warm()
    with pytest.raises(ChannelClosed):
        channel.receive()
    channel.close()
    theirs.close()
    os.close(alive)
