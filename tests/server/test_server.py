"""The end of a server: it accepts no new streams, open sessions may finish, and it is over in time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from helpers.wire import PAUSE, STOP, Client, bursts, encode, start

SPEECH = encode(bursts((0.5, 2.0), length_s=2.0))  # still open at its end

STUCK = """
import time

def stuck(audio):
    time.sleep(3600)
"""


def get(url: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def kinds(events):
    return [event["type"] for event in events]


def test_a_running_session_may_finish_and_nobody_new_comes_in(serve):
    server = serve(**{"server.drain_s": 60})
    with Client(server.url()) as idle, Client(server.url()) as client:
        client.send(start(notices=True), SPEECH)
        client.until("active")
        server.server.ask_to_end()
        notice = client.until("draining")[-1]
        assert notice == {"type": "draining", "grace_s": 58.0, "channel": 0}
        assert idle.rest() == []
        assert idle.close_code == 1001

        assert get(server.http("/api/v1/health"))[0] == 200
        assert get(server.http("/api/v1/ready")) == (503, {"status": "not ready", "reason": "draining"})
        with pytest.raises(InvalidStatus) as refused, Client(server.url()):
            pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"]
        assert json.loads(refused.value.response.body)["code"] == "draining"

        client.send(SPEECH, PAUSE)
        events = [event for event in client.rest() if event["type"] != "progress"]
        assert kinds(events) == ["inactive", "segment", "finished"]
        assert events[1]["end_time"] == 4.0
        assert client.close_code == 1001


@pytest.mark.parametrize(("last", "code"), [(STOP, 1000), (PAUSE, 1001), (start(), 1001)])
def test_how_a_session_ends_in_the_grace_time(serve, last, code):
    server = serve(**{"server.drain_s": 60})
    with Client(server.url()) as client:
        client.send(start(notices=True), SPEECH)
        client.until("active")
        server.server.ask_to_end()
        client.until("draining")
        with contextlib.suppress(ConnectionClosed):  # the server may be faster than what comes after the end
            client.send(last, *[bytes(640)] * 3)  # and opens no other session
        assert kinds(client.rest())[-3:] == ["inactive", "segment", "finished"]
        assert client.close_code == code


def test_leftovers_get_their_finals(serve, patient_end):
    server = serve(**{"server.drain_s": 0})
    with Client(server.url()) as client:
        client.send(start(), SPEECH)
        client.until("active")
        server.server.ask_to_end()
        final = client.rest()[-1]
        assert (final["is_final"], final["end_time"]) == (True, 2.0)
        assert client.close_code == 1001


def test_who_does_not_answer_the_close_frame_is_left_behind(serve):
    server = serve(**{"server.drain_s": 60})
    with socket.create_connection(("127.0.0.1", server.port)) as mute:
        request = "GET /api/v1/simple HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        mute.sendall(f"{request}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
        assert mute.recv(100).startswith(b"HTTP/1.1 101")
        server.stop()  # long before the grace time is over


def test_a_session_that_is_held_back_is_left_without_a_word(serve, caplog):
    """Its audio waits for room that never comes: that it is closed meanwhile is no failure."""
    released = threading.Event()

    def stuck(audio):
        assert released.wait(30)
        return {}

    settings = {"server.drain_s": 0, "limits.buffered_audio_s": 1, "inference.warm_up": False}
    server = serve(stuck, **settings)
    with Client(server.url("simple")) as client:
        client.send(start(), *[bytes(32_000)] * 4)
        while not server.service.tally.limit_hits["buffered_audio_s"]:
            pass
        server.server.ask_to_end()
        assert client.rest() == []
        assert client.close_code == 1001
    released.set()
    server.stop()
    assert "failed" not in caplog.text
    assert server.service.tally.errors["internal"] == 0


# The process


@pytest.fixture
def process(tmp_path):
    """``process(drain_s)``: a server with a model that never returns, and its address."""
    (tmp_path / "mymodel.py").write_text(STUCK)
    started = []

    def run(drain_s: float) -> tuple[subprocess.Popen[str], str]:
        settings = ["--set", f"server.drain_s={drain_s}", "--set", "inference.warm_up=false"]
        child = subprocess.Popen(
            [sys.executable, "-m", "voxgate", "serve", "--port", "0", "--model", "mymodel:stuck", *settings],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child, child.stdout.readline().split()[-1].replace("http", "ws")

    yield run
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_model_that_never_returns_does_not_keep_the_process(patient_end, process, number):
    child, url = process(0.2)
    with Client(f"{url}/api/v1/simple") as client:
        client.send(start(notices=True), SPEECH)
        assert client.until("started")
        child.send_signal(number)
        client.rest()
        assert client.close_code == 1001
        assert child.wait(30) == 0


@pytest.mark.parametrize(("first", "second", "code"), [(signal.SIGTERM,) * 2 + (143,), (signal.SIGINT,) * 2 + (130,)])
def test_a_second_signal_ends_at_once(process, first, second, code):
    child, url = process(3600)
    with Client(f"{url}/api/v1/simple") as client:
        client.send(start(notices=True), SPEECH)
        client.until("started")
        child.send_signal(first)
        client.until("draining")
        # The log follows: clients come first.
        assert any("a second signal (Ctrl-C) ends at once" in line for line in iter(child.stderr.readline, ""))
        child.send_signal(second)
        assert child.wait(30) == code


def test_a_signal_while_the_model_is_made_ready(tmp_path: Path):
    (tmp_path / "mymodel.py").write_text(
        "import time, voxgate\n"
        "class Slow(voxgate.Model):\n"
        "    def warm_up(self):\n"
        "        print('warming up', flush=True)\n"
        "        time.sleep(3600)\n"
        "    def infer(self, audio): return {}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "voxgate", "serve", "--port", "0", "--model", "mymodel:Slow"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "warming up\n"
        child.terminate()
        assert child.wait(30) == 0


def test_ending_twice_is_ending_once(serve):
    server = serve(**{"server.drain_s": 60})
    with Client(server.url()) as client:
        client.send(start(notices=True))
        client.until("started")
        for _ in range(3):
            threading.Thread(target=server.server.ask_to_end).start()
        assert kinds(client.until("draining")) == ["draining"]
        client.send(PAUSE)
        assert kinds(client.rest()) == ["finished"]
