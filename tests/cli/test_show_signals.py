"""The effect of signals, and of a reader that has enough, on a stream: the client in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from helpers.client_verb import GOOD
from helpers.scripted_server import error, send, serving_in_thread

PROGRAM = """
import argparse, sys
from voxgate.cli import client
parser = argparse.ArgumentParser(prog="voxgate")
client.register(parser.add_subparsers())
args = parser.parse_args(["client", *sys.argv[1:]])
sys.exit(args.run(args))
"""


def start(*arguments: str, program: str = PROGRAM, **options: Any) -> subprocess.Popen[str]:
    """A client in a process of its own, which does not ignore signals even if this one does."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-c", program, *arguments], text=True, preexec_fn=heed_signals, **pipes)


def heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


async def receive_audio(websocket: ServerConnection) -> None:
    """The start, and the first audio."""
    await websocket.recv()
    assert isinstance(await websocket.recv(), bytes)


async def receive_stop(websocket: ServerConnection) -> None:
    async for message in websocket:
        if isinstance(message, str):
            assert json.loads(message)["request"] == "stop"
            return
    raise AssertionError("no stop")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("format", ["srt", "vtt", "jsonl", "pretty"])
def test_an_interrupted_file_gets_what_it_is_owed(
    wav: str, tmp_path: Path, number: signal.Signals, format: str
) -> None:
    place = tmp_path / "out"
    process: list[subprocess.Popen[str]] = []

    async def handler(websocket: ServerConnection) -> None:
        await receive_audio(websocket)
        process[0].send_signal(number)
        await receive_stop(websocket)
        await send(websocket, *GOOD)

    with serving_in_thread(handler) as addr:
        # So slow that only the signal ends it.
        process.append(start("-i", wav, "--addr", addr, "--real-time", "--format", format, "-o", str(place)))
        _, err = process[0].communicate(timeout=60)
    assert process[0].returncode == 128 + number
    assert "hello" in place.read_text()
    assert "stopped after 0." in err
    assert "1 result, 1 interim" in err
    assert "Traceback" not in err


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    assert any(text in line for line in iter(process.stderr.readline, ""))


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_ends_it_at_once_and_what_came_is_written(
    wav: str, tmp_path: Path, numbers: tuple[signal.Signals, signal.Signals]
) -> None:
    place = tmp_path / "talk.srt"

    async def handler(websocket: ServerConnection) -> None:
        await receive_audio(websocket)
        await send(websocket, *GOOD, error("all is there"))
        await websocket.wait_closed()

    with serving_in_thread(handler) as addr:
        process = start("-i", wav, "--addr", addr, "--real-time", "--format", "srt", "-o", str(place))
        read_until(process, "all is there")
        process.send_signal(numbers[0])
        read_until(process, "stopped after 0.")
        process.send_signal(numbers[1])
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + numbers[1]
    assert "hello" in place.read_text()
    assert "interrupted after 0." in err
    assert "Traceback" not in err


def test_ctrl_c_ends_a_silent_stdin_in_good_order() -> None:
    process: list[subprocess.Popen[str]] = []

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        process[0].send_signal(signal.SIGINT)
        await receive_stop(websocket)
        await send(websocket, *GOOD)

    with serving_in_thread(handler) as addr:
        process.append(start("-i", "-", "--rate", "16000", "--addr", addr, stdin=subprocess.PIPE))
        with process[0] as child:
            assert child.wait(60) == 0
            assert child.stdout is not None
            assert child.stderr is not None
            assert "hello" in child.stdout.read()
            assert "Traceback" not in child.stderr.read()


def test_ctrl_c_reaches_every_program_of_a_pipeline(tmp_path: Path) -> None:
    """As on a terminal: the recorder ends, too, and its last audio still counts."""
    place = tmp_path / "talk.srt"
    recorder = "import os, time; os.write(1, bytes(3200)); time.sleep(600)"
    groups: list[int] = []

    async def handler(websocket: ServerConnection) -> None:
        await receive_audio(websocket)
        os.killpg(groups[0], signal.SIGINT)
        await receive_stop(websocket)
        await send(websocket, *GOOD)

    with (
        serving_in_thread(handler) as addr,
        subprocess.Popen(
            [sys.executable, "-c", recorder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=heed_signals,
            process_group=0,
        ) as first,
    ):
        groups.append(first.pid)
        arguments = ("-i", "-", "--rate", "16000", "--addr", addr, "--format", "srt", "-o", str(place))
        with start(*arguments, stdin=first.stdout, process_group=first.pid) as child:
            assert child.wait(60) == 0
            assert child.stderr is not None
            assert "Traceback" not in child.stderr.read()
    assert "hello" in place.read_text()


def test_ctrl_c_before_there_is_a_connection_ends_it_at_once(wav: str, tmp_path: Path) -> None:
    place = tmp_path / "talk.srt"
    place.write_text("old")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start("-i", wav, "--addr", f"127.0.0.1:{listener.getsockname()[1]}", "-o", str(place))
        connection, _ = listener.accept()  # and no answer to the upgrade
        with connection:
            connection.recv(1)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted after 0.0 s of audio"
    assert place.read_text() == "old"


def test_a_reader_that_has_enough_ends_it_quietly(wav: str) -> None:
    closed: list[bool] = []

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await send(websocket, GOOD[0])
        try:
            while True:  # until the client has noticed that nobody reads its output
                await send(websocket, GOOD[1])
        finally:
            closed.append(True)

    with serving_in_thread(handler) as addr:
        command = [sys.executable, "-c", PROGRAM, "-i", wav, "--addr", addr, "--format", "jsonl"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            assert json.loads(child.stdout.readline()) == GOOD[0]
            child.stdout.close()
            assert child.wait(60) == 141
            err = child.stderr.read()
    assert "Traceback" not in err
    assert "Exception" not in err


MICROPHONE = """
import argparse, os, signal, sys, threading
from types import SimpleNamespace
from voxgate.cli import client
from voxgate.client import Microphone

class Audio:
    PortAudioError = KeyError
    def query_devices(self, device=None, kind=None):
        return {"index": 0, "name": "Test", "max_input_channels": 1, "default_samplerate": 16000.0}
    def check_input_settings(self, *arguments): pass
    def RawInputStream(self, callback, **options):
        self.callback = callback
        return self
    def __enter__(self):
        self.callback(bytes(640), 320, None, SimpleNamespace(input_overflow=False))
    def __exit__(self, *exception): pass
    def abort(self): print("device let go")
    def close(self): pass

class Fake(Microphone):
    def __init__(self, *arguments): super().__init__(*arguments, backend=Audio())

client.Microphone = Fake
parser = argparse.ArgumentParser(prog="voxgate")
client.register(parser.add_subparsers())
args = parser.parse_args(["client", *sys.argv[1:]])
sys.exit(args.run(args))
"""


@pytest.mark.parametrize("twice", [False, True])
def test_ctrl_c_ends_a_microphone_in_good_order_and_twice_at_once(twice: bool) -> None:
    process: list[subprocess.Popen[str]] = []

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.recv()
        process[0].send_signal(signal.SIGINT)
        assert json.loads(await websocket.recv())["request"] == "stop"
        if twice:
            process[0].send_signal(signal.SIGINT)
            await websocket.wait_closed()
        else:
            await send(websocket, *GOOD)

    with serving_in_thread(handler) as addr:
        process.append(start("-i", "mic", "--addr", addr, "--chunk-size", "640", program=MICROPHONE))
        out, err = process[0].communicate(timeout=60)
    assert "stopped listening" in err
    assert "Traceback" not in err
    assert process[0].returncode == (130 if twice else 0)
    assert ("hello" in out) is not twice
    assert "device let go" in out
