"""A server process for the tests of `voxgate demo`: it knows the truth of the bundled recordings and can misbehave."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["demo_server"]

TESTS = Path(__file__).parent.parent

FAKE_SERVER = """
import asyncio, json, signal, sys
sys.path.insert(0, {tests!r})
from helpers.scripted_server import active, error, final, inactive, interim, receive_session, segment, send, serving
from voxgate import recordings
late_s, lose, name, fail, code, routes = {late_s}, {lose}, {name!r}, {fail}, {code}, {routes}

def refuse(connection, request):
    if request.path.rpartition("/")[2] not in routes:
        return connection.respond(501, '{{"error": "not served"}}')

async def handler(websocket):
    received = await receive_session(websocket)
    if not received.texts:
        return  # it was only asked whether the route is served
    if received.path.endswith("/segmented"):
        assert received.start["vad"] == {{"prefix_padding_ms": 0, "suffix_padding_ms": 0}}
    rate = received.start["format"]["sample_rate"] * received.start["format"]["channels"] * 2
    duration_s = round(len(received.audio) / rate, 3)
    for channel, utterances in enumerate(recordings.truth(name)):
        if received.path.endswith("/simple"):
            middle_s = round(duration_s / 2, 3)
            await send(websocket, segment(0, middle_s, channel), segment(middle_s, duration_s, channel))
            continue
        if received.path.endswith("/stateful"):
            await send(websocket, segment(0, duration_s, channel, pitch_hz=[None, *range(100, 200)]),
                       segment(duration_s, duration_s, channel, total=7))
            continue
        assert received.start["interim_results"] is True
        for said in utterances[lose:]:
            start_s, end_s = round(said.start_s + late_s, 3), round(said.end_s + late_s, 3)
            result = error("no luck", channel=channel) if fail else final(start_s, end_s, channel, pitch_hz=120.5)
            await send(websocket, active(start_s, channel), interim(start_s, end_s - 0.1, channel),
                       inactive(end_s, channel), result)

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("a line before", flush=True)
    print("something for the log", file=sys.stderr, flush=True)
    async with serving(handler, path="", process_request=refuse) as addr:
        print("voxgate listening on " + addr.replace("ws:", "http:"), flush=True)
        await stop.wait()
    sys.exit(code)

asyncio.run(main())
"""


def demo_server(
    name: str = "demo",
    late_s: float = 0.02,
    lose: int = 0,
    fail: bool = False,
    code: int = 0,
    routes: Sequence[str] = ("segmented", "simple"),
) -> list[str]:
    """The command that starts the server.

    It reports each utterance `late_s` late, without the first `lose` ones, and with `fail` an error in place of each
    result; it serves `routes` and exits with `code`.
    """
    text = FAKE_SERVER.format(
        tests=str(TESTS), late_s=late_s, lose=lose, name=name, fail=fail, code=code, routes=tuple(routes)
    )
    return [sys.executable, "-c", text, "serve"]
