"""The messages that reach a worker process while it calls its model."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from voxgate.inference.engine.processes.channel import Channel
from voxgate.inference.engine.processes.messages import Drop, Partial, Quit, StateCall, Stop
from voxgate.inference.engine.processes.outcomes import SentResult
from voxgate.inference.engine.processes.worker_calls import ChannelInterims, Inbox, KeptStates
from voxgate.protocol.output import Output


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    """The server's end and the worker's."""
    ends = [Channel(end) for end in socket.socketpair()]
    yield ends[0], ends[1]
    for end in ends:
        end.close()


def test_a_call_is_needed_until_it_is_stopped_and_other_messages_wait(pair: tuple[Channel, Channel]) -> None:
    server, worker = pair
    inbox = Inbox(worker)
    interims = ChannelInterims(worker, inbox, 7, True)
    assert interims.is_needed
    server.send(Stop(6))  # Too late for the call before.
    assert interims.is_needed
    server.send(Drop([1]))
    server.send(Stop(7))
    server.send(Quit())
    assert not interims.is_needed
    assert not interims.is_needed
    assert ChannelInterims(worker, inbox, 8, True).is_needed
    assert [inbox.next(), inbox.next()] == [Drop([1]), Quit()]


def test_a_stop_that_comes_after_its_call_is_passed_over(pair: tuple[Channel, Channel]) -> None:
    server, worker = pair
    server.send(Stop(1))
    server.send(Quit())
    assert Inbox(worker).next() == Quit()


def test_interim_results_are_sent_to_the_server(pair: tuple[Channel, Channel]) -> None:
    server, worker = pair
    ChannelInterims(worker, Inbox(worker), 1, True).send(Output.of({"a": 1}))
    assert server.receive() == Partial(SentResult(b'"a":1', None, []))


def test_states_are_kept_by_number_until_they_are_dropped() -> None:
    states = KeptStates()
    one = states.of(StateCall("step", 1))
    assert states.of(StateCall("finish", 1)) is one
    assert states.of(StateCall("step", 2)) is not one
    states.drop(Drop([1, 3]))
    assert len(states) == 1
    assert states.of(StateCall("step", 1)) is not one
