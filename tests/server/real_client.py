"""One session with a client library of others: ``python real_client.py LIBRARY URL``. Prints the events and the close
code as JSON. Runs in the environment of `make clients`, without Voxgate.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

START = {"request": "start", "format": {"channels": 1, "sample_rate": 16000, "bit_depth": 16, "is_float": False}}
MESSAGES: list[str | bytes] = [
    json.dumps(START),
    *[bytes(640)] * 50,
    json.dumps({"request": "stop", "disconnect": True}),
]

Told = tuple[list[str], int | None]


def websockets_sync(url: str) -> Told:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    events: list[str] = []
    with connect(url) as client:
        assert client.ping(b"there?").wait(30)
        for message in MESSAGES:
            client.send(message)
        try:
            while True:
                events.append(str(client.recv(30)))
        except ConnectionClosed as closed:
            return events, closed.rcvd.code if closed.rcvd else None


async def websockets_asyncio(url: str) -> Told:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    events: list[str] = []
    async with connect(url) as client:
        await (await client.ping(b"there?"))
        for message in MESSAGES:
            await client.send(message)
        try:
            while True:
                events.append(str(await client.recv()))
        except ConnectionClosed as closed:
            return events, closed.rcvd.code if closed.rcvd else None


async def aiohttp(url: str) -> Told:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=15) as client:
        await client.ping(b"there?")
        for message in MESSAGES:
            await (client.send_str(message) if isinstance(message, str) else client.send_bytes(message))
        events = [message.data async for message in client]
        return events, client.close_code


def websocket_client(url: str) -> Told:
    import websocket

    client = websocket.create_connection(url, timeout=30)
    client.ping(b"there?")
    for message in MESSAGES:
        if isinstance(message, str):
            client.send(message)
        else:
            client.send_binary(message)
    events = []
    while True:
        opcode, data = client.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_TEXT:
            events.append(data.decode())
        elif opcode == websocket.ABNF.OPCODE_CLOSE:
            client.close()
            return events, int.from_bytes(data[:2], "big")


async def picows(url: str) -> Told:
    import picows

    events: list[str] = []
    code: int | None = None

    class Listener(picows.WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            transport.send_ping(b"there?")
            for message in MESSAGES:
                kind = picows.WSMsgType.TEXT if isinstance(message, str) else picows.WSMsgType.BINARY
                transport.send(kind, message.encode() if isinstance(message, str) else message)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            nonlocal code
            if frame.msg_type == picows.WSMsgType.TEXT:
                events.append(frame.get_payload_as_utf8_text())
            elif frame.msg_type == picows.WSMsgType.CLOSE:
                code = int(frame.get_close_code())
                transport.send_close(frame.get_close_code(), b"")
                transport.disconnect()

    transport, _ = await picows.ws_connect(Listener, url)
    await transport.wait_disconnected()
    return events, code


def main() -> None:
    library, url = sys.argv[1:]
    run = globals()[library]
    told: Any = asyncio.run(run(url)) if asyncio.iscoroutinefunction(run) else run(url)
    print(json.dumps({"events": [json.loads(text) for text in told[0]], "code": told[1]}))


if __name__ == "__main__":
    main()
