"""SocketReader: every receiver gets what its transport would have passed on, whatever the other sockets do."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import pickle
import resource
import select
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from helpers.raw import BINARY, CLOSE, PING, TEXT, frame
from voxgate._native.reader import MOST_BYTES, MOST_READS, SocketReader
from voxgate._native.websocket import READ_BYTES, FrameReceiver, ReadBuffer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets are read by the transports")

BUFFER = ReadBuffer()


class Receiver(FrameReceiver):
    def __init__(self, then: Callable[[Receiver], None] | None = None) -> None:
        self.set_up(BUFFER, max_bytes=1_000_000, max_fragments=5, n_frames=1 << 40)
        self.is_held = False
        self.events: list[Any] = []
        self.ends: list[BaseException | None] = []
        self.then = then

    def on_input(self) -> None:
        while self.pending_bytes or self.has_event:
            event = self.poll()
            if event is not None:
                self.events.append(event)
            elif self.is_stopped:
                break
            else:
                self.begin_turn()
        if self.then is not None:
            self.then(self)

    def on_read_end(self, error: BaseException | None) -> None:
        self.ends.append(error)


class Loop:
    """An event loop whose turns the test takes."""

    def __init__(self) -> None:
        self.is_over = False
        self.fd: int | None = None

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.fd, self.callback, self.context = fd, callback, contextvars.copy_context()

    def remove_reader(self, fd: int) -> None:
        assert fd == self.fd
        self.fd = None

    def is_closed(self) -> bool:
        return self.is_over

    @property
    def is_ready(self) -> bool:
        return self.fd is not None and select.select([self.fd], [], [], 0)[0] != []

    def turn(self) -> None:
        """It calls back only if there is something."""
        if self.is_ready:
            self.context.run(self.callback)

    def turns(self) -> None:
        for _ in range(1000):
            if not self.is_ready:
                return
            self.turn()
        raise AssertionError("always ready")


@pytest.fixture
def loop() -> Any:
    return Loop()


class Pairs:
    """Connected sockets: `far` is the client's."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def make(self) -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair()
        return self._keep(near, far)

    def make_tcp(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            far = socket.create_connection(server.getsockname())
            near = server.accept()[0]
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._keep(near, far)

    def _keep(self, near: socket.socket, far: socket.socket) -> tuple[socket.socket, socket.socket]:
        near.setblocking(False)
        self._stack.enter_context(near)
        self._stack.enter_context(far)
        return near, far

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    pairs = Pairs()
    yield pairs
    pairs.close()


def add(reader: SocketReader, loop: Any, near: socket.socket, then: Any = None) -> Receiver:
    receiver = Receiver(then)
    assert reader.add(loop, receiver, near.fileno())
    return receiver


def ping(data: bytes = b"") -> bytes:
    return frame(PING, data)


# The law: the reader changes nothing


frames = st.one_of(
    st.binary(max_size=200).map(lambda data: frame(BINARY, data)),
    st.text(max_size=5).map(lambda text: frame(TEXT, text.encode())),
    st.sampled_from([frame(BINARY, bytes(3 * READ_BYTES)), frame(BINARY, b"part", fin=False)]),
    st.just(frame(CLOSE, b"\x03\xe8")),
    st.binary(max_size=3),
)
steps = st.lists(st.sampled_from(["send", "send", "turn", "stop", "start"]), max_size=30)


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 300_000), max_size=8), steps)
def test_events_are_those_of_the_bytes_however_they_are_cut_and_reading_pauses(frames, sizes, steps):
    wire = b"".join(frames)
    expected = Receiver()
    expected.data_received(wire)
    loop: Any = Loop()
    pairs, reader = Pairs(), SocketReader()
    near, far = pairs.make()
    far.setblocking(False)
    receiver = add(reader, loop, near)
    pos, is_reading = 0, True
    for step in steps:
        if step == "send":
            size = sizes.pop() if sizes else 100
            if wire[pos : pos + size]:
                with contextlib.suppress(BlockingIOError):
                    pos += far.send(wire[pos : pos + size])
        elif step == "turn":
            before = len(receiver.events)
            loop.turn()
            assert is_reading or len(receiver.events) == before
        else:
            is_reading = step == "start"
            (reader.start if is_reading else reader.stop)(receiver)
    reader.start(receiver)
    while wire[pos:]:
        with contextlib.suppress(BlockingIOError):
            pos += far.send(wire[pos:])
        loop.turns()
    far.close()
    loop.turns()
    assert receiver.events == expected.events
    assert receiver.ends == [None]
    assert reader.remove(receiver)
    assert loop.fd is None
    pairs.close()


# Many sockets


def test_a_turn_reads_a_bounded_number_of_sockets_once_each(loop, pairs):
    reader = SocketReader()
    receivers = []
    for _ in range(MOST_READS + 2):
        near, far = pairs.make()
        receivers.append(add(reader, loop, near))
        far.send(ping())
    assert len(reader) == MOST_READS + 2
    loop.turn()
    assert sum(len(receiver.events) for receiver in receivers) == MOST_READS
    loop.turn()
    assert [len(receiver.events) for receiver in receivers] == [1] * (MOST_READS + 2)
    assert not loop.is_ready


def test_who_sends_more_than_a_read_holds_waits_for_the_others(loop, pairs):
    reader = SocketReader()
    (near, far), (near2, far2) = pairs.make(), pairs.make()
    much, little = add(reader, loop, near), add(reader, loop, near2)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    far.sendall(frame(BINARY, bytes(READ_BYTES)) + ping())
    far2.send(ping())
    loop.turn()
    assert (len(much.events), len(little.events)) == (0, 1)
    loop.turn()
    assert [event[0] for event in much.events] == [BINARY, PING]
    assert not loop.is_ready


def test_a_turn_reads_a_bounded_number_of_bytes_and_the_sockets_that_wait_come_next(loop, pairs):
    reader = SocketReader()
    n_reads = MOST_BYTES // READ_BYTES
    receivers, clients = [], []
    for _ in range(3 * n_reads):
        near, far = pairs.make()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        far.sendall(frame(BINARY, bytes(READ_BYTES - 14), length=READ_BYTES) + bytes(14))  # a read, and its end
        receivers.append(add(reader, loop, near))
        clients.append(far)
    *_, stopped, ended = receivers
    clients[-1].close()
    for turn in range(1, 4):
        loop.turn()
        if turn == 1:
            reader.stop(stopped)
        n_begun = sum(len(receiver.events) > 0 or not receiver.is_between for receiver in receivers)
        assert n_begun == min(turn * n_reads, len(receivers) - 1)
    loop.turns()
    assert [len(receiver.events) for receiver in receivers] == [1] * (len(receivers) - 2) + [0, 1]
    assert (ended.ends, stopped.is_between) == ([None], True)
    reader.start(stopped)
    loop.turns()
    assert len(stopped.events) == 1


def test_an_event_of_a_socket_whose_number_was_given_again_is_not_the_new_ones(loop, pairs):
    reader = SocketReader()
    (near, far), (near2, far2), (other, other_far) = pairs.make(), pairs.make(), pairs.make()
    other_far.send(ping(b"new"))
    new: list[Receiver] = []

    def replace(receiver: Receiver) -> None:
        assert reader.remove(old)
        os.dup2(other.fileno(), near2.fileno())
        new.append(add(reader, loop, near2))

    first, old = add(reader, loop, near, replace), add(reader, loop, near2)
    far.send(ping())
    far2.send(ping(b"old"))
    loop.turn()
    assert len(first.events) == 1
    assert (old.events, new[0].events) == ([], [])
    loop.turn()
    assert (old.events, new[0].events) == ([], [(PING, b"new")])


def test_a_receiver_that_is_removed_or_stopped_by_another_is_not_read(loop, pairs):
    reader = SocketReader()
    (near, far), (near2, far2), (near3, far3) = pairs.make(), pairs.make(), pairs.make()

    def end(receiver: Receiver) -> None:
        reader.remove(removed)
        reader.stop(stopped)

    add(reader, loop, near, end)
    removed, stopped = add(reader, loop, near2), add(reader, loop, near3)
    for client in (far, far2, far3):
        client.send(ping())
    loop.turns()
    assert (removed.events, stopped.events) == ([], [])
    reader.start(stopped)
    loop.turns()
    assert (removed.events, stopped.events) == ([], [(PING, b"")])


def test_the_last_receiver_may_be_removed_and_the_first_added_in_a_callback(loop, pairs):
    reader = SocketReader()
    (near, far), (near2, far2) = pairs.make(), pairs.make()
    added: list[Receiver] = []

    def change(receiver: Receiver) -> None:
        reader.remove(receiver)
        assert loop.fd is None
        added.append(add(reader, loop, near2))

    add(reader, loop, near, change)
    far.send(ping())
    loop.turn()
    far2.send(ping())
    loop.turn()
    assert added[0].events == [(PING, b"")]


# Pauses


def test_while_reading_is_stopped_nothing_wakes_the_loop_again(loop, pairs):
    reader = SocketReader()
    near, far = pairs.make()
    receiver = add(reader, loop, near)
    assert reader.stop(receiver)
    for _ in range(2):
        far.send(ping())
        loop.turn()
        assert not loop.is_ready
    assert receiver.events == []
    assert reader.start(receiver)
    loop.turn()
    assert receiver.events == [(PING, b"")] * 2


# The end


@pytest.mark.parametrize("kind", ["make", "make_tcp"])
def test_the_end_comes_once_and_behind_the_data(loop, pairs, kind):
    reader = SocketReader()
    near, far = getattr(pairs, kind)()
    receiver = add(reader, loop, near)
    far.send(ping())
    far.shutdown(socket.SHUT_WR)
    loop.turns()
    assert receiver.events == [(PING, b"")]
    assert receiver.ends == [None]


def test_a_reset_is_an_error(loop, pairs):
    reader = SocketReader()
    near, far = pairs.make_tcp()
    receiver = add(reader, loop, near)
    far.send(ping())
    loop.turn()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    loop.turns()
    assert receiver.events == [(PING, b"")]
    assert [type(error) for error in receiver.ends] == [ConnectionResetError]


def test_a_reset_while_reading_is_stopped_is_found_afterwards(loop, pairs):
    reader = SocketReader()
    near, far = pairs.make_tcp()
    receiver = add(reader, loop, near)
    reader.stop(receiver)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    loop.turns()
    assert receiver.ends == []
    reader.start(receiver)
    loop.turns()
    assert [type(error) for error in receiver.ends] == [ConnectionResetError]


def test_what_comes_behind_an_urgent_byte_is_read(loop, pairs):
    reader = SocketReader()
    near, far = pairs.make_tcp()
    receiver = add(reader, loop, near)
    far.send(ping(b"1"))
    far.send(b"!", socket.MSG_OOB)
    far.send(ping(b"2"))
    loop.turns()
    assert receiver.events == [(PING, b"1"), (PING, b"2")]


def test_a_receiver_that_raises_is_read_no_more_and_harms_no_other(loop, pairs):
    reader = SocketReader()
    (near, far), (near2, far2) = pairs.make(), pairs.make()

    def fail(receiver: Receiver) -> None:
        raise ZeroDivisionError

    bad, good = add(reader, loop, near, fail), add(reader, loop, near2)
    for client in (far, far2, far, far2):
        client.send(ping())
    loop.turns()
    far.send(ping())
    loop.turns()
    assert [type(error) for error in bad.ends] == [ZeroDivisionError]
    assert len(bad.events) == 2  # both came in one read
    assert good.events == [(PING, b"")] * 2


def test_an_end_that_raises_harms_no_other(loop, pairs, monkeypatch):
    class Bad(Receiver):
        def on_read_end(self, error: BaseException | None) -> None:
            raise ZeroDivisionError

    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_type))
    reader = SocketReader()
    (near, far), (near2, far2) = pairs.make(), pairs.make()
    assert reader.add(loop, Bad(), near.fileno())
    good = add(reader, loop, near2)
    far.close()
    far2.send(ping())
    loop.turns()
    assert good.events == [(PING, b"")]
    assert raised == [ZeroDivisionError]


# Where it cannot read


def n_open() -> int:
    gc.collect()  # the cycles of other tests hold sets
    return len(os.listdir("/proc/self/fd"))


def test_what_cannot_be_watched_is_not_added(loop):
    reader, receiver = SocketReader(), Receiver()
    before = n_open()
    with tempfile.TemporaryFile() as file:
        assert not reader.add(loop, receiver, file.fileno())
    for fd in (-1, 2**31 - 1):  # the second costs no memory for the numbers before it
        assert not reader.add(loop, receiver, fd)
    assert (len(reader), loop.fd, n_open()) == (0, None, before)


def test_without_file_descriptors_nothing_is_added(loop, pairs):
    reader, receiver = SocketReader(), Receiver()
    near, _ = pairs.make()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert not reader.add(loop, receiver, near.fileno())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert reader.add(loop, receiver, near.fileno())


def test_a_loop_without_readers_adds_nothing(pairs):
    class Proactor(Loop):
        def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
            raise NotImplementedError

    reader, before = SocketReader(), n_open()
    loop: Any = Proactor()
    assert not reader.add(loop, Receiver(), 0)
    assert n_open() == before


def test_a_loop_that_refuses_is_not_taken_for_one_that_watches(loop, pairs):
    class Refusing(Loop):
        def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
            raise RuntimeError("the file descriptor is used by a transport")

    near, far = pairs.make()
    reader, receiver, before = SocketReader(), Receiver(), n_open()
    refusing: Any = Refusing()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="used by a transport"):
            reader.add(refusing, receiver, near.fileno())
    assert n_open() == before
    assert reader.add(loop, receiver, near.fileno())
    far.send(ping())
    loop.turn()
    assert receiver.events == [(PING, b"")]


def test_one_loop_at_a_time_and_the_next_when_it_is_closed(loop, pairs):
    reader = SocketReader()
    (near, _), (near2, far2) = pairs.make(), pairs.make()
    former = add(reader, loop, near)
    other: Any = Loop()
    assert not reader.add(other, Receiver(), near2.fileno())
    loop.is_over = True
    receiver = add(reader, other, near2)
    far2.send(ping())
    other.turn()
    assert receiver.events == [(PING, b"")]
    assert not reader.remove(former)
    assert len(reader) == 1


def test_a_number_that_is_given_again_belongs_to_the_last(loop, pairs):
    """Its socket was closed, and nobody has said so."""
    reader = SocketReader()
    (near, _), (other, other_far) = pairs.make(), pairs.make()
    former = add(reader, loop, near)
    os.dup2(other.fileno(), near.fileno())
    receiver = add(reader, loop, near)
    other_far.send(ping())
    loop.turn()
    assert (former.events, receiver.events) == ([], [(PING, b"")])
    assert not reader.stop(former)
    assert not reader.start(former)
    assert not reader.remove(former)
    assert len(reader) == 1


def test_misuse(loop, pairs):
    reader, receiver = SocketReader(), Receiver()
    near, _ = pairs.make()
    assert not reader.start(receiver)
    assert not reader.stop(receiver)
    assert not reader.remove(receiver)
    with pytest.raises(RuntimeError, match="set_up"):
        reader.add(loop, FrameReceiver(), near.fileno())
    assert reader.add(loop, receiver, near.fileno())
    for each in (reader, SocketReader()):
        with pytest.raises(ValueError, match="has a socket already"):
            each.add(loop, receiver, near.fileno())
    assert not SocketReader().remove(receiver)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(reader)


def test_the_set_is_closed_with_the_last_receiver_and_with_the_reader(loop, pairs):
    reader = SocketReader()
    near, _ = pairs.make()
    before = n_open()
    receiver = add(reader, loop, near)
    assert n_open() == before + 1
    reader.remove(receiver)
    assert (n_open(), loop.fd) == (before, None)
    add(reader, loop, near)
    del reader, loop.callback  # the loop has gone without a word
    assert n_open() == before


def test_callbacks_run_in_an_empty_context(loop, pairs):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("of the first connection")
    seen: list[str] = []
    near, far = pairs.make()
    add(SocketReader(), loop, near, lambda receiver: seen.append(variable.get("nothing")))
    far.send(ping())
    loop.turn()
    assert seen == ["nothing"]


# What it needs of the event loops: a transport that has paused leaves its socket alone, and closes it after
# `connection_lost`


class Shared(Receiver, asyncio.BufferedProtocol):
    reader = SocketReader()

    def take_over(self, transport: Any) -> None:
        """As `server.http` does it, when the request has come: in `connection_made`, uvloop does not read yet, and
        ignores that it should pause.
        """
        self.transport = transport
        self.n_read_by_transport = 0
        self.lost = asyncio.get_running_loop().create_future()
        transport.pause_reading()
        transport.set_protocol(self)
        self.fd = transport.get_extra_info("socket").fileno()
        assert self.reader.add(asyncio.get_running_loop(), self, self.fd)

    def buffer_updated(self, n_bytes: int) -> None:
        self.n_read_by_transport += 1
        super().buffer_updated(n_bytes)

    def eof_received(self) -> None:
        self.n_read_by_transport += 1

    def on_read_end(self, error: BaseException | None) -> None:
        super().on_read_end(error)
        self.transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        os.fstat(self.fd)  # it is still open
        assert self.reader.remove(self)
        self.lost.set_result(None)


class Request(asyncio.Protocol):
    def __init__(self, made: asyncio.Queue[Shared]) -> None:
        self.made = made

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        shared = Shared(lambda receiver: self.transport.write(b"got it"))
        shared.take_over(self.transport)
        self.made.put_nowait(shared)


@pytest.mark.parametrize("ends", ["client", "close", "abort", "hands back"])
@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_beside_a_transport(make_loop, ends):
    async def main() -> Shared:
        loop, made = asyncio.get_running_loop(), asyncio.Queue[Shared]()
        server = await loop.create_server(lambda: Request(made), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"request")
        protocol = await made.get()
        writer.write(ping())
        assert await reader.readexactly(6) == b"got it"
        if ends == "hands back":
            fd = protocol.fd
            protocol.reader.remove(protocol)
            writer.write(ping())
            await writer.drain()
            protocol.transport.resume_reading()
            assert await reader.readexactly(6) == b"got it"
            protocol.transport.pause_reading()
            assert protocol.reader.add(loop, protocol, fd)
        elif ends != "client":
            getattr(protocol.transport, ends)()
            await protocol.lost
        writer.close()
        await protocol.lost
        server.close()
        await server.wait_closed()
        return protocol

    with asyncio.Runner(loop_factory=make_loop) as runner:
        protocol = runner.run(main())
    assert protocol.events == [(PING, b"")] * (2 if ends == "hands back" else 1)
    assert protocol.ends == ([] if ends in ("close", "abort") else [None])
    assert protocol.n_read_by_transport == (1 if ends == "hands back" else 0)
    assert len(protocol.reader) == 0
