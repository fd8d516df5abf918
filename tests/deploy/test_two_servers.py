"""deploy/cluster/upstream.conf: two real servers behind a real nginx, one of which is drained in mid-stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.http_client import HttpClient
from helpers.nginx import NGINX, Nginx
from helpers.ports import held_port
from helpers.serve_process import ServeProcess
from helpers.wire import STOP, Client, bursts, encode, of_type, pieces, refused, start

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

AUDIO = encode(bursts((0.5, 1.5), (2.5, 3.5), length_s=5.0))
HALF = len(AUDIO) // 2
SETTINGS = {
    "server.trusted_proxies": "127.0.0.1",
    "vad.detector": "energy",
    "inference.warm_up": False,
    "limits.streams": 5,
    "server.drain_s": 50,
}


class TwoServers:
    """Behind one nginx, on `port`."""

    def __init__(self, ports: list[int], nginx: Nginx) -> None:
        self.port = nginx.port
        self.url = f"ws://127.0.0.1:{nginx.port}/api/v1/segmented"
        self.servers = [ServeProcess(port, "helpers.two_servers:answer", SETTINGS) for port in ports]
        for server in self.servers:
            server.wait_ready()

    def client(self) -> Client:
        return Client(self.url)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[TwoServers]:
    with held_port() as one, held_port() as other, held_port() as port, Nginx(tmp_path, port, [one, other]) as nginx:
        made = TwoServers([one, other], nginx)
        yield made
        for server in made.servers:
            server.kill()


def speak(client: Client) -> int:
    """Sends half of the audio; the process that answers."""
    client.send(start(notices=True), *pieces(AUDIO[:HALF], 3200))
    pid: int = client.until("segment")[-1]["pid"]
    return pid


def finish(client: Client) -> list[dict[str, Any]]:
    client.send(*pieces(AUDIO[HALF:], 3200), STOP)
    events = client.rest()
    assert client.close_code in (1000, 1001)
    return events


def test_one_of_two_is_drained_in_mid_stream(behind: TwoServers) -> None:
    with contextlib.ExitStack() as stack:
        clients = [(client := stack.enter_context(behind.client()), speak(client)) for _ in range(4)]
        one, other = behind.servers
        assert sorted(pid for _, pid in clients) == sorted([one.pid, other.pid] * 2)  # The fewest connections.

        http = stack.enter_context(HttpClient(behind.port).open("/api/v1/segmented?sample_rate=16000"))
        http.audio(AUDIO[:HALF])
        event: dict[str, Any] | None = {"type": "active"}
        while event is not None and event["type"] != "segment":
            event = http.event()
        assert event is not None
        drained, staying = (one, other) if event["pid"] == one.pid else (other, one)
        clients.append((client := stack.enter_context(behind.client()), speak(client)))
        assert clients[-1][1] == staying.pid
        first = next(client for client, pid in clients if pid == drained.pid)
        clients.remove((first, drained.pid))
        finish(first)

        # nginx would choose this one for new streams: it has the fewest.
        drained.terminate()
        in_it = next(client for client, pid in clients if pid == drained.pid)
        in_it.until("draining")
        for _ in range(2):
            clients.append((client := stack.enter_context(behind.client()), speak(client)))
            assert clients[-1][1] == staying.pid
        status, headers, body = refused(behind.url)  # The other one is full now.
        assert (status, body["code"]) in ((503, "streams"), (503, "draining"), (503, "unavailable"))
        assert int(headers["retry-after"]) > 0

        for client, pid in clients:
            found = [(round(each["start_time"], 1), each["pid"]) for each in of_type(finish(client), "segment")]
            assert found == [(1.9, pid)]
        http.audio(AUDIO[HALF:])
        http.end()
        assert [each["pid"] for each in http.events() if each["type"] == "segment"] == [drained.pid]
        assert drained.wait() == 0


def test_a_refusal_does_not_take_a_server_from_others(behind: TwoServers) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(behind.client()).send(start())
        answers = [refused(behind.url) for _ in range(3)]
    assert [(status, body["code"]) for status, _, body in answers] == [(503, "streams")] * 3
