"""A stream on a terminal or in a file: events, status, summary, and the effect of signals."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyte
import pytest
import soundfile
import webvtt
from websockets.asyncio.server import ServerConnection

from helpers.scripted_server import (
    Received,
    active,
    answering,
    error,
    final,
    inactive,
    interim,
    receive_session,
    segment,
    send,
    serving_in_thread,
)
from voxgate.cli import client as verb
from voxgate.cli.show import Shown

GOOD = (active(0.1), interim(0.1, 0.5, text="he"), inactive(0.6), final(0.1, 0.6, text="hello", score=0.5))


WIRE = [json.dumps(event, separators=(",", ":")) for event in GOOD]


@pytest.fixture
def wav(tmp_path: Path) -> str:
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.zeros(16_000, dtype=np.int16), 16_000)
    return str(path)


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="voxgate")
    verb.register(parser.add_subparsers())
    return parser.parse_args(["client", *arguments])


def run(*arguments: str) -> int:
    args = parse(*arguments)
    code: int = args.run(args)
    return code


def test_pretty_output_and_summary(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_in_thread(answering(*GOOD)) as addr:
        assert run("-i", wav, "--addr", addr, "--interim-results") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"talk.wav: 1.0 s, 16000 Hz, 1 channel, s16, to {addr}"
    assert lines[1:5] == [
        "   0.10 s           active",
        "   0.10 –   0.50 s  interim   “he”",
        "   0.60 s           inactive",
        "   0.10 –   0.60 s  final     “hello”  score 0.5",
    ]
    assert lines[5].startswith("first message after 0.")
    assert "s in total for 1.00 s of audio" in lines[5]
    assert lines[5].endswith("; 1 result, 1 interim, 0 errors")
    assert len(lines) == 6
    assert err == ""
    assert "\x1b" not in out


def test_jsonl_output_is_nothing_but_events(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_in_thread(answering(*GOOD)) as addr:
        assert run("-i", wav, "--addr", addr, "--format", "jsonl") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == WIRE
    assert "first message after" in err
    assert "talk.wav" in err
    assert "\r" not in err  # no bar when stderr is no terminal


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ((active(0.1), inactive(0.6)), "not every result arrived: channel 0: no final result for 0.100-0.600 s"),
        ((active(0.1),), "never became inactive"),
        ((active(0.1), inactive(0.6), error("bad luck")), None),
        ((error("vad.threshold: 7", "invalid_start"),), "did not accept the session\n"),
    ],
)
def test_missing_results_and_errors_exit_with_1(
    wav: str, capsys: pytest.CaptureFixture[str], events: Any, complaint: str | None
) -> None:
    with serving_in_thread(answering(*events)) as addr:
        assert run("-i", wav, "--addr", addr) == 1
    out, err = capsys.readouterr()
    assert "in total" in out
    assert (complaint in err) if complaint else err == ""


def test_a_refused_start_is_told_once(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_in_thread(answering(error("vad.threshold: 7", "invalid_start"))) as addr:
        assert run("-i", wav, "--addr", addr) == 1
        assert "".join(capsys.readouterr()).count("vad.threshold: 7") == 1
        assert run("-i", wav, "--addr", addr, "--format", "jsonl") == 1
        out, err = capsys.readouterr()
    assert json.loads(out)["message"] == "vad.threshold: 7"
    assert "did not accept the session: vad.threshold: 7" in err


def test_without_a_connection_there_is_no_summary(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(connection: Any, request: Any) -> Any:
        return connection.respond(501, '{"error": "/x is not served: no step()"}')

    with serving_in_thread(answering(), process_request=refuse) as addr:
        assert run("-i", wav, "--addr", addr) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err == "voxgate client: the server refused with HTTP 501: /x is not served: no step()\n"


def test_the_simple_route_must_cover_everything(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_in_thread(answering(segment(0, 0.4), segment(0.4, 1.0)), "/api/v1/simple") as addr:
        assert run("-i", wav, "--addr", addr) == 0
    with serving_in_thread(answering(segment(0, 0.4)), "/api/v1/simple") as addr:
        assert run("-i", wav, "--addr", addr) == 1
    assert "no result for 0.400-1.000 s" in capsys.readouterr().err


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_status_which_never_mixes_with_events(
    wav: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    both = Terminal()
    monkeypatch.setattr(sys, "stdout", both)
    monkeypatch.setattr(sys, "stderr", both)
    sessions: list[Received] = []
    notices = (
        {
            "type": "progress",
            "received_s": 1.0,
            "processed_s": 0.5,
            "lag_s": 0.5,
            "real_time_factor": 0.25,
            "channel": 0,
        },
        {"type": "finished", "received_s": 1.0, "processed_s": 1.0, "results": 1, "errors": 0, "channel": 0},
    )
    with serving_in_thread(answering(GOOD[0], notices[0], *GOOD[1:], notices[1], sessions=sessions)) as addr:
        assert run("-i", wav, "--addr", addr, "--interim-results") == 0
    assert sessions[0].start["notices"] is True
    written = both.getvalue()
    uncoloured = re.sub(r"\x1b\[[0-9;]*m", "", written)
    for seen in ("speaking", "lag 0.5 s", "real-time factor 0.25", "0.1 – 0.5 s  “he”"):
        assert seen in uncoloured
    screen = pyte.Screen(200, 30)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(written)
    lines = [line.rstrip() for line in screen.display if line.strip()]
    assert lines[1:4] == [
        "   0.10 s           active",
        "   0.60 s           inactive",
        "   0.10 –   0.60 s  final     “hello”  score 0.5",
    ]
    assert lines[4].endswith("; 1 result, 1 interim, 0 errors")  # and no notice that says the same
    assert len(lines) == 5
    assert run("-i", wav, "--addr", addr, "--no-notices") == 1  # nobody listens any more; but see what it asked for
    assert not verb._options(parse("-i", wav, "--no-notices"), wav, Shown(both, both, both, "pretty")).get("notices")


def test_no_status_on_a_dumb_terminal(wav: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    both = Terminal()
    monkeypatch.setattr(sys, "stdout", both)
    monkeypatch.setattr(sys, "stderr", both)
    with serving_in_thread(answering(*GOOD)) as addr:
        assert run("-i", wav, "--addr", addr) == 0
    assert "\x1b" not in both.getvalue()
    assert "\r" not in both.getvalue()


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_into_a_file(wav: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str) -> None:
    place = tmp_path / "talk.subtitles"
    events = (*GOOD, error("bad luck"))
    with serving_in_thread(answering(*events)) as addr:
        assert run("-i", wav, "--addr", addr, "--format", format, "-o", str(place)) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "bad luck" in err
        assert "in total" in err
        cues = webvtt.from_buffer(io.StringIO(place.read_text()), format=format)
        assert [cue.text for cue in cues] == ["hello"]
        assert run("-i", wav, "--addr", addr, "--format", format) == 1
        assert capsys.readouterr().out == place.read_text()


def test_a_picture_of_what_was_heard(wav: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "talk.svg"
    with serving_in_thread(answering(active(0.1), inactive(0.6), final(0.1, 0.6, text="a $5 <b>"))) as addr:
        assert run("-i", wav, "--addr", addr, "--plot", str(place)) == 0
        assert "<!-- a $5 &lt;b&gt; -->" in place.read_text()
        assert run("-i", wav, "--addr", addr, "--plot", str(tmp_path / "talk.xyz")) == 2
    assert "got .xyz" in capsys.readouterr().err


def test_a_lost_connection_is_told_and_gone_on_from(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    sessions: list[Received] = []

    async def handler(websocket: ServerConnection) -> None:
        sessions.append(await receive_session(websocket))
        if len(sessions) == 1:
            await send(websocket, active(0.1), inactive(0.6), final(0.1, 0.6))
            await websocket.close(1012)

    with serving_in_thread(handler) as addr:
        assert run("-i", wav, "--addr", addr, "--reconnect") == 0
    out, err = capsys.readouterr()
    lost, again, back = err.splitlines()
    assert lost == (
        "the server closed with 1012 (the server is restarting);"
        " 0.4 s of audio were not answered and will be sent again"
    )
    assert re.fullmatch(r"trying again in 0\.\d s \(attempt 1 of 10\)", again)
    assert re.fullmatch(r"reconnected after \d\.\d s, continuing at 0\.60 s", back)
    assert len(sessions[1].audio) == 12_800
    assert "for 1.00 s of audio" in out


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "--token or VOXGATE_TOKEN"), (429, "--reconnect"), (503, "--reconnect"), (403, "ask its operator")],
)
def test_a_refusal_says_what_to_do(wav: str, capsys: pytest.CaptureFixture[str], status: int, advice: str) -> None:
    def refuse(connection: Any, request: Any) -> Any:
        return connection.respond(status, '{"error": "the reason"}')

    with serving_in_thread(answering(), process_request=refuse) as addr:
        assert run("-i", wav, "--addr", addr, "--token", "hush-hush") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"voxgate client: the server refused with HTTP {status}: the reason"
    assert advice in second


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
