"""The options of `voxgate client` reach the stream, and wrong usage exits with 2."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.server import ServerConnection

from helpers.client_verb import GOOD, WIRE, parse, run
from helpers.ports import held_port
from helpers.scripted_server import (
    Received,
    answering,
    receive_session,
    serving_in_thread,
)
from voxgate import recordings
from voxgate.cli import client as verb
from voxgate.cli.show import Shown
from voxgate.client import SourceError

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_defaults_and_options_reach_the_server(wav: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXGATE_TOKEN", raising=False)
    sessions: list[Received] = []
    with serving_in_thread(answering(sessions=sessions)) as addr:
        assert run("-i", wav, "--addr", addr) == 0
        assert run(
            *("-i", wav, "--addr", addr, "--chunk-size", "1000", "--interim-results", "--notices"),
            *("--vad", "threshold=0.6", "prefix_padding_ms=0", "--vad", "max_segment_s=5"),
            *("--turn", "enabled=true", "threshold=0.7", "--turn", "max_silence_ms=2000"),
            *("--option", "language=de", "--option", "beam=5", "--option", 'hotwords=["a", "b"]', "--option", "x="),
            *("--trace-id", TRACEPARENT, "--token", "secret"),
        ) == 0  # fmt: skip
    plain, full = sessions
    assert set(plain.lengths) == {256}
    assert set(plain.start) == {"request", "format", "interim_results", "trace_id"}
    assert set(full.lengths) == {1000}
    assert "stability" not in plain.start
    assert full.start["interim_results"] is full.start["stability"] is True
    assert full.start["vad"] == {"threshold": 0.6, "prefix_padding_ms": 0, "max_segment_s": 5}
    assert full.start["turn"] == {"enabled": True, "threshold": 0.7, "max_silence_ms": 2000}
    assert full.start["options"] == {"language": "de", "beam": 5, "hotwords": ["a", "b"], "x": ""}
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


def test_bundled_speech_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert verb.recording("demo") == str(recordings.path("demo"))
    assert verb.recording("opera") == "opera"
    (tmp_path / "demo").touch()
    assert verb.recording("demo") == "demo"


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
        (
            ["-i", "WAV", "--turn", "silence=3"],
            "--turn: unknown key 'silence'; expected one of enabled, min_silence_ms",
        ),
        (["-i", "WAV", "--turn", "enabled=1"], "--turn: Expected bool | null, got int - at enabled"),
        (["-i", "WAV", "--vad", "threshold=true"], "--vad: Expected float | null, got bool - at threshold"),
        (["-i", "WAV", "--vad", "threshold"], "expected threshold=NUMBER, got nothing"),
        (["-i", "WAV", "--vad", "threshold=high"], "expected threshold=NUMBER, got 'high'"),
        (["-i", "WAV", "--vad", "threshold=nan"], "expected threshold=NUMBER, got 'nan'"),
        (["-i", "WAV", "--vad", "prefix_padding_ms=0.5"], "prefix_padding_ms"),
        (["-i", "WAV", "--option", "language"], "--option: expected KEY=VALUE, got 'language'"),
        (["-i", "WAV", "--option", "=de"], "--option: expected KEY=VALUE, got '=de'"),
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


def test_the_file_may_stand_alone_between_options(wav: str) -> None:
    sessions: list[Received] = []
    with serving_in_thread(answering(sessions=sessions)) as addr:
        assert run("--interim-results", wav, "--addr", addr) == 0
    assert sessions[0].start["interim_results"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "expected a FILE, such as talk.wav, mic, or the bundled demo"),
        (("demo", "-i", "noisy"), "expected one FILE, got demo and -i noisy"),
    ],
)
def test_one_file(arguments: tuple[str, ...], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err == f"voxgate client: {error}\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "stdin: not an audio file that can be read: Format not recognised; raw PCM needs --rate HZ"),
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


def test_an_output_that_cannot_be_written_is_wrong_usage(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-i", wav, "-o", "no/such/place") == 2
    assert "No such file or directory: no/such/place" in capsys.readouterr().err


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
