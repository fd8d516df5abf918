"""`voxgate client` against a scripted server: what it prints where, and its exit code."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyte
import pytest
import soundfile
import webvtt
from websockets.asyncio.server import ServerConnection

from helpers.ports import held_port
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
from voxgate import recordings
from voxgate.cli import client as verb
from voxgate.cli.show import Shown
from voxgate.client import SourceError

GOOD = (active(0.1), interim(0.1, 0.5, text="he"), inactive(0.6), final(0.1, 0.6, text="hello", score=0.5))
WIRE = [json.dumps(event, separators=(",", ":")) for event in GOOD]

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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


def test_defaults_and_options_reach_the_server(wav: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXGATE_TOKEN", raising=False)
    sessions: list[Received] = []
    with serving_in_thread(answering(sessions=sessions)) as addr:
        assert run("-i", wav, "--addr", addr) == 0
        assert run(
            *("-i", wav, "--addr", addr, "--chunk-size", "1000", "--interim-results", "--notices"),
            *("--vad", "threshold=0.6", "prefix_padding_ms=0", "--vad", "max_segment_s=5"),
            *("--trace-id", TRACEPARENT, "--token", "secret"),
        ) == 0  # fmt: skip
    plain, full = sessions
    assert set(plain.lengths) == {256}
    assert set(plain.start) == {"request", "format", "interim_results", "trace_id"}
    assert set(full.lengths) == {1000}
    assert full.start["interim_results"] is True
    assert full.start["vad"] == {"threshold": 0.6, "prefix_padding_ms": 0, "max_segment_s": 5}
    assert full.start["notices"] is True
    assert full.start["trace_id"] == full.headers["traceparent"] == TRACEPARENT
    assert "token" not in full.start
    assert full.headers["authorization"] == "Bearer secret"


def test_the_token_comes_from_the_environment(wav: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_TOKEN", "secret")
    assert parse("-i", wav).token == "secret"
    monkeypatch.setenv("VOXGATE_TOKEN", "")
    assert parse("-i", wav).token is None


def test_the_token_is_never_printed(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_in_thread(answering(*GOOD)) as addr:
        run("-i", wav, "--addr", addr, "--token", "hush-hush")
    assert "hush-hush" not in "".join(capsys.readouterr())


def test_real_time_asks_for_live_pace(wav: str) -> None:
    shown = Shown(sys.stdout, sys.stdout, sys.stderr, "pretty")
    assert verb._options(parse("-i", wav, "--real-time"), wav, shown).get("real_time") is True
    assert verb._options(parse("-i", wav), wav, shown).get("real_time") is False


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


def test_bundled_speech_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert verb.recording("demo") == str(recordings.path("demo"))
    assert verb.recording("opera") == "opera"
    (tmp_path / "demo").touch()
    assert verb.recording("demo") == "demo"


def test_the_simple_route_must_cover_everything(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_in_thread(answering(segment(0, 0.4), segment(0.4, 1.0)), "/api/v1/simple") as addr:
        assert run("-i", wav, "--addr", addr) == 0
    with serving_in_thread(answering(segment(0, 0.4)), "/api/v1/simple") as addr:
        assert run("-i", wav, "--addr", addr) == 1
    assert "no result for 0.400-1.000 s" in capsys.readouterr().err


def test_no_server_exits_with_1_and_one_line(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with held_port() as port:
        assert run("-i", wav, "--addr", f"127.0.0.1:{port}") == 1
    err = capsys.readouterr().err
    assert "connection refused (is the server running?)" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-i", "WAV", "--vad", "loudness=3"], "unknown key 'loudness'; expected one of threshold, negative_threshold"),
        (["-i", "WAV", "--vad", "threshold"], "expected threshold=NUMBER, got nothing"),
        (["-i", "WAV", "--vad", "threshold=high"], "expected threshold=NUMBER, got 'high'"),
        (["-i", "WAV", "--vad", "threshold=nan"], "expected threshold=NUMBER, got 'nan'"),
        (["-i", "WAV", "--vad", "prefix_padding_ms=0.5"], "prefix_padding_ms"),
        (["-i", "WAV", "--trace-id", "00-ab-cd-01"], "--trace-id: expected a W3C traceparent, 00-TRACE-SPAN-FLAGS"),
        (["-i", "WAV", "--trace-id", ""], "got ''"),
        (["-i", "WAV", "--trace-id", f"00-{'0' * 32}-{'1' * 16}-01"], "not all zeros"),
        (["-i", "WAV", "--rate", "8000"], "--rate is for raw PCM from stdin"),
        (["-i", "WAV", "--addr", "ftp://x"], "'ftp'"),
        (["-i", "no/such.wav"], "No such file or directory: no/such.wav"),
        (["-i", __file__], "not an audio file"),
    ],
)
def test_wrong_usage_exits_with_2(
    wav: str, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert run(*[wav if argument == "WAV" else argument for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-i", "x", "--chunk-size", "0"],
        ["-i", "x", "--chunk-size", "many"],
        ["-i", "x", "--timeout", "-1"],
        ["-i", "x", "--timeout", "nan"],
        ["-i", "x", "--format", "xml"],
        ["-i", "-", "--rate", "16000", "--encoding", "mp3"],
        ["-i", "-", "--rate", "16000", "--channels", "999999999"],
        ["-i", "-", "--rate", "16000", "--channels", "257"],
        ["-i", "-", "--rate", "192001"],
        ["-i", "x", "--chunk-size", "1000000000000"],
    ],
)
def test_what_argparse_refuses_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage: voxgate client" in capsys.readouterr().err


class Stdin:
    """Standard input on a pipe."""

    def __init__(self, descriptor: int, terminal: bool = False) -> None:
        self._descriptor = descriptor
        self._terminal = terminal

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(descriptor)


@pytest.mark.parametrize(
    ("arguments", "format"),
    [
        ([], {"channels": 1, "sample_rate": 8000, "bit_depth": 16, "is_float": False}),
        (
            ["--channels", "2", "--encoding", "f32"],
            {"channels": 2, "sample_rate": 8000, "bit_depth": 32, "is_float": True},
        ),
        (
            ["--encoding", "mulaw"],
            {"channels": 1, "sample_rate": 8000, "bit_depth": 8, "is_float": False, "encoding": "mulaw"},
        ),
    ],
)
def test_raw_pcm_from_stdin(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, arguments: list[str], format: dict[str, Any]
) -> None:
    reader, writer = pipe
    os.write(writer, bytes(range(200)))
    os.close(writer)
    monkeypatch.setattr(sys, "stdin", Stdin(reader))
    sessions: list[Received] = []
    with serving_in_thread(answering(sessions=sessions)) as addr:
        assert run("-i", "-", "--rate", "8000", "--addr", addr, *arguments) == 0
    assert sessions[0].start["format"] == format
    assert sessions[0].audio == bytes(range(200))


def sound_bytes(samples: Any, format: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=format)
    return file.getvalue()


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
def test_a_sound_file_from_stdin_is_decoded(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    samples = np.random.default_rng(3).integers(-32_768, 32_768, 5000, dtype=np.int16)
    reader, writer = pipe
    os.write(writer, sound_bytes(samples, container))
    os.close(writer)
    monkeypatch.setattr(sys, "stdin", Stdin(reader))
    sessions: list[Received] = []
    with serving_in_thread(answering(sessions=sessions)) as addr:
        assert run("-i", "-", "--addr", addr) == 0
    assert sessions[0].start["format"] == {"channels": 1, "sample_rate": 16_000, "bit_depth": 16, "is_float": False}
    assert sessions[0].audio == samples.tobytes()


def test_a_sound_file_is_taken_as_raw_pcm_only_when_its_encoding_is_given(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = sound_bytes(np.zeros(100, np.int16), "WAV")
    sessions: list[Received] = []
    with serving_in_thread(answering(sessions=sessions)) as addr:
        for arguments, code in (([], 1), (["--encoding", "s16"], 0)):
            reader, writer = os.pipe()
            os.write(writer, content)
            os.close(writer)
            monkeypatch.setattr(sys, "stdin", Stdin(reader))
            assert run("-i", "-", "--rate", "16000", "--addr", addr, *arguments) == code
            os.close(reader)
    assert "stdin is not raw PCM but begins like a file in WAV" in capsys.readouterr().err
    assert [session.audio for session in sessions] == [b"", content]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "stdin: not an audio file that can be read: Format not recognised.; raw PCM needs --rate HZ"),
        (["--channels", "2"], "--channels is for raw PCM, which also needs its sample rate: add --rate HZ"),
    ],
)
def test_raw_pcm_without_a_rate_is_wrong_usage(
    pipe: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    reader, writer = pipe
    os.write(writer, bytes(range(200)))
    os.close(writer)
    held = os.dup(0)
    try:
        os.dup2(reader, 0)  # the name of stdin in the message comes from its descriptor
        monkeypatch.setattr(sys, "stdin", Stdin(0))
        assert run("-i", "-", *arguments) == 2
    finally:
        os.dup2(held, 0)
        os.close(held)
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err


def test_a_file_that_breaks_off_is_answered_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = sound_bytes(np.random.default_rng(4).integers(-8000, 8000, 160_000, dtype=np.int16), "FLAC")
    (tmp_path / "cut.flac").write_bytes(content[: len(content) * 6 // 10])
    sessions: list[Received] = []
    with serving_in_thread(answering(*GOOD, sessions=sessions)) as addr:
        assert run("-i", str(tmp_path / "cut.flac"), "--addr", addr, "--format", "jsonl") == 1
    out, err = capsys.readouterr()
    assert sessions[0].texts[-1] == {"request": "stop", "disconnect": True}
    assert len(sessions[0].audio) == 2 * 94_208  # every FLAC frame that is whole
    assert out.splitlines() == WIRE
    assert "cut.flac: readable up to 5.9 s of 10.0 s: Error : flac decoder lost sync." in err


def test_stdin_is_live_what_comes_is_sent_at_once(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    # The rest of stdin comes only after the server has heard the beginning.
    reader, writer = pipe
    os.write(writer, b"ab")
    monkeypatch.setattr(sys, "stdin", Stdin(reader))

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        assert await websocket.recv() == b"ab"
        os.write(writer, b"cd")
        os.close(writer)
        await receive_session(websocket)

    with serving_in_thread(handler) as addr:
        assert run("-i", "-", "--rate", "8000", "--addr", addr) == 0


def test_a_server_that_wants_a_token_in_start(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.close(1008, "unauthorized")

    with serving_in_thread(handler) as addr:
        assert run("-i", wav, "--addr", addr) == 1
    assert capsys.readouterr().err.endswith("\n  give a token with --token or VOXGATE_TOKEN\n")


def test_a_server_that_closes_ends_it_even_when_stdin_stays_open(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = pipe
    os.write(writer, b"ab")
    monkeypatch.setattr(sys, "stdin", Stdin(reader))

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.recv()
        await websocket.close(1008, "idle")

    with serving_in_thread(handler) as addr:
        assert run("-i", "-", "--rate", "8000", "--addr", addr) == 1
    err = capsys.readouterr().err
    assert "the server closed with 1008 (the session violated a rule of the server): idle" in err
    assert "--token" not in err
    os.close(writer)  # lets the reading thread go


def test_a_terminal_as_stdin_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(0, terminal=True))
    assert run("-i", "-", "--rate", "8000") == 2
    assert "pipe audio into it" in capsys.readouterr().err


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
    for seen in ("speaking", "lag 0.5 s", "real-time factor 0.25", "0.1 – 0.5 s  “he”"):
        assert seen in written
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


def test_an_output_that_cannot_be_written_is_wrong_usage(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-i", wav, "-o", "no/such/place") == 2
    assert "No such file or directory: no/such/place" in capsys.readouterr().err


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


def test_the_microphone_is_reached_and_its_troubles_are_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def microphone(*arguments: Any) -> Any:
        asked.append(arguments)
        raise SourceError("no microphone")

    monkeypatch.setattr(verb, "Microphone", microphone)
    for arguments in (["mic"], ["mic:USB", "--rate", "8000", "--channels", "2"], ["mic:3"]):
        assert run("-i", *arguments) == 2
    assert asked == [(None, None, 1), ("USB", 8000, 2), (3, None, 1)]
    assert run("-i", "mic", "--real-time") == 2
    assert "--real-time is not supported for a microphone" in capsys.readouterr().err


# Real processes: signals and pipes.

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
