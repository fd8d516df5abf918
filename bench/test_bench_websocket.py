"""A 20 ms message of live audio as a frame, parsed and unmasked: the receiver of the server, and the library's.

Reads of one frame, and of a file that is sent at full speed. The library is websockets' Sans-I/O protocol, with its
compiled mask function; what a queue and a task would add is in neither.

Then 100 sockets with a message each: read by our reader, and by the transports of uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

import numpy as np
import pytest
import uvloop
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from voxgate._native.reader import SocketReader
from voxgate._native.websocket import TEXT, FrameReceiver, ReadBuffer, build_frame

READS = 100


def frame(data: bytes) -> bytes:
    mask = os.urandom(4)
    keys = np.resize(np.frombuffer(mask, np.uint8), len(data))
    return b"\x82\xfe" + len(data).to_bytes(2) + mask + (np.frombuffer(data, np.uint8) ^ keys).tobytes()


AUDIO = frame(bytes(640))
READ = {"one frame a read": AUDIO, "100 frames a read": AUDIO * 100}


class Receiver(FrameReceiver):
    def on_input(self) -> None:
        while self.pending_bytes or self.has_event:
            if self.poll() is None:
                self.begin_turn()


def make_receiver(listens: bool) -> FrameReceiver:
    receiver = Receiver()
    receiver.set_up(ReadBuffer(), max_bytes=1 << 20, max_fragments=1024, n_frames=1 << 60)
    receiver.is_held = False
    if listens:
        receiver.listener = lambda data: True
    return receiver


@pytest.fixture(params=READ)
def read(request, benchmark) -> bytes:
    benchmark.group = f"100 reads of a websocket, {request.param}"
    return READ[request.param]


@pytest.mark.parametrize("listens", [True, False], ids=["to a listener", "as events"])
def test_voxgate_buffered(benchmark, read, listens):
    receiver = make_receiver(listens)
    view = receiver.get_buffer(-1)
    n_bytes = min(len(read), len(view))

    def run() -> None:
        for _ in range(READS):
            view[:n_bytes] = read[:n_bytes]  # which the kernel does otherwise
            receiver.begin_turn()
            receiver.buffer_updated(n_bytes)

    benchmark(run)


def test_voxgate_bytes(benchmark, read):
    receiver = make_receiver(True)

    def run() -> None:
        for _ in range(READS):
            receiver.data_received(read)

    benchmark(run)


def test_websockets(benchmark, read):
    conn = ServerProtocol(state=OPEN, max_size=1 << 20)

    def run() -> None:
        for _ in range(READS):
            conn.receive_data(read)
            conn.events_received()

    benchmark(run)


def test_build_voxgate(benchmark, read):
    benchmark.group = "100 events as text frames"
    benchmark(lambda: [build_frame(TEXT, '{"type":"active","start":1.5}') for _ in range(100)])


def test_build_websockets(benchmark, read):
    benchmark.group = "100 events as text frames"
    conn = ServerProtocol(state=OPEN)

    def run() -> None:
        for _ in range(100):
            conn.send_text(b'{"type":"active","start":1.5}')
            b"".join(conn.data_to_send())

    benchmark(run)


class Connection(Receiver, asyncio.BufferedProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport


def read_sockets(benchmark: Any, by_reader: bool) -> None:
    loop, reader, buffer = uvloop.new_event_loop(), SocketReader(), ReadBuffer()
    n_messages = n_due = 0

    def listen(data: bytes) -> bool:
        nonlocal n_messages
        n_messages += 1
        return True

    async def take() -> None:
        while n_messages < n_due:
            await asyncio.sleep(0)

    def send() -> None:
        nonlocal n_due
        for client in clients:
            client.send(AUDIO)
        n_due += len(clients)

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        clients = []
        for _ in range(READS):
            clients.append(stack.enter_context(socket.create_connection(server.getsockname())))
            connection = Connection()
            connection.set_up(buffer, max_bytes=1 << 20, max_fragments=1024, n_frames=1 << 60)
            connection.is_held = False
            connection.listener = listen
            loop.run_until_complete(loop.connect_accepted_socket(lambda made=connection: made, server.accept()[0]))
            if by_reader:
                connection.transport.pause_reading()
                fd = connection.transport.get_extra_info("socket").fileno()
                assert reader.add(loop, connection, fd)
                stack.callback(reader.remove, connection)
            stack.callback(connection.transport.abort)
        benchmark.pedantic(lambda: loop.run_until_complete(take()), setup=send, rounds=200, warmup_rounds=5)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


SOCKETS = pytest.mark.benchmark(group="100 sockets with a message each are read")


@SOCKETS
def test_voxgate_reader(benchmark):
    read_sockets(benchmark, by_reader=True)


@SOCKETS
def test_uvloop(benchmark):
    read_sockets(benchmark, by_reader=False)
