"""A stream on a terminal or in a file: events, status and summary."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pyte
import pytest
import webvtt
from websockets.asyncio.server import ServerConnection

from helpers.client_verb import GOOD, WIRE, parse, run
from helpers.scripted_server import (
    Received,
    active,
    answering,
    error,
    final,
    inactive,
    receive_session,
    segment,
    send,
    serving_in_thread,
)
from voxgate.cli import client as verb
from voxgate.cli.show import Shown


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
