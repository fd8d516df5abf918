"""The CPU that the load generator's own websocket costs, beside picows (decision 0025).

    pip install picows
    taskset -c 1 python bench/load/websocket_cost.py server 18999 &
    taskset -c 0 python bench/load/websocket_cost.py own 200 8 18999
    taskset -c 0 python bench/load/websocket_cost.py picows 200 8 18999

N streams of 20 ms messages from one wheel, for some seconds, to a server that sends one short event per ten messages.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

from voxgate.load.frames import BINARY, client_frame
from voxgate.load.websocket import Target, WebSocket
from voxgate.protocol.events import Event
from voxgate.protocol.json_codec import parse_event

PAYLOAD = os.urandom(640)  # 20 ms at 16 kHz in s16
EVENT = b'{"type":"segment","start_time":1.0,"end_time":1.2,"channel":0,"result":{"n":3200}}'
MESSAGES_PER_EVENT = 10
PERIOD_MS = 20

received = [0]


class Stream(WebSocket):
    is_open = False

    def opened(self) -> None:
        self.is_open = True

    def received(self, event: Event, now_s: float) -> None:
        received[0] += 1

    def ended(self) -> None:
        pass


async def drive(name: str, streams: Sequence[Any], send: Callable[[Any], None], seconds: float) -> None:
    slots: list[list[Any]] = [[] for _ in range(PERIOD_MS)]
    for number, stream in enumerate(streams):
        slots[number % PERIOD_MS].append(stream)
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    begin_s = time.perf_counter()
    n_ticks = 0

    def tick() -> None:
        nonlocal n_ticks
        now_s = time.perf_counter()
        while begin_s + n_ticks / 1000 <= now_s:
            for stream in slots[n_ticks % PERIOD_MS]:
                send(stream)
            n_ticks += 1
        if now_s - begin_s > seconds:
            done.set_result(None)
        else:
            loop.call_later(max(0.0, begin_s + n_ticks / 1000 - time.perf_counter()), tick)

    gc.collect()
    gc.disable()
    cpu_s = time.process_time()
    tick()
    await done
    cpu_s = time.process_time() - cpu_s
    n_messages = len(streams) * n_ticks / PERIOD_MS
    print(f"{name}: {len(streams)} streams, {1e6 * cpu_s / n_messages:.2f} us a message, {received[0]} events")


async def own(n_streams: int, seconds: float, port: int) -> None:
    target = Target.of(f"127.0.0.1:{port}", "segmented", None)
    streams = [Stream(target, time.perf_counter) for _ in range(n_streams)]
    for stream in streams:
        await stream.connect()
    while not all(stream.is_open for stream in streams):
        await asyncio.sleep(0.05)
    frame = client_frame(BINARY, PAYLOAD)
    await drive("own", streams, lambda stream: stream.write(frame), seconds)


async def picows(n_streams: int, seconds: float, port: int) -> None:
    from picows import WSListener, WSMsgType, ws_connect

    class Listener(WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == WSMsgType.TEXT:
                parse_event(frame.get_payload_as_bytes())
                received[0] += 1

    url = f"ws://127.0.0.1:{port}/api/v1/segmented"
    transports = [(await ws_connect(Listener, url))[0] for _ in range(n_streams)]
    await drive("picows", transports, lambda transport: transport.send(WSMsgType.BINARY, PAYLOAD), seconds)


async def serve(port: int) -> None:
    from picows import WSListener, WSMsgType, ws_create_server

    class Listener(WSListener):  # type: ignore[misc]
        n_messages = 0

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == WSMsgType.BINARY:
                self.n_messages += 1
                if self.n_messages % MESSAGES_PER_EVENT == 0:
                    transport.send(WSMsgType.TEXT, EVENT)

    server = await ws_create_server(lambda request: Listener(), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        uvloop.run(serve(int(sys.argv[2])))
    else:
        run = own if sys.argv[1] == "own" else picows
        uvloop.run(run(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
