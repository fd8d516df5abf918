"""`voxgate load` against a real server: every stream is counted, and every problem is reported."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import trustme

from helpers import streamer_template
from helpers.scripted_server import active, inactive, send, serving_in_thread
from helpers.wire import bursts
from voxgate.cli import load as verb

CALM = "1e6"  # ms: no machine is so busy
AUDIO = ("--duration", "2.4", "--ramp", "0.2")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Speech from 0.3 to 0.6 s; its end is decided at about 1.2 s."""
    path = tmp_path_factory.mktemp("audio") / "talk.wav"
    soundfile.write(path, bursts((0.3, 0.6), length_s=1.6), 16_000)
    return str(path)


def run(addr: str, *arguments: str, clock: Callable[[], float] = time.perf_counter, late_ms: str = CALM) -> int:
    parser = argparse.ArgumentParser(prog="voxgate")
    verb.register(parser.add_subparsers())
    args = parser.parse_args(["load", "--addr", addr, "--late-ms", late_ms, *arguments])
    return verb.run(args, clock)


def host(url: str) -> str:
    return url.removeprefix("ws://").partition("/")[0]


def test_every_stream_and_every_result_is_counted(serve: Any, wav: str, tmp_path: Path) -> None:
    server, path = serve(), tmp_path / "load.json"
    arguments = ("-n", "5", "-i", wav, *AUDIO, "--pid", str(os.getpid()), "--json", str(path))
    assert run(host(server.url()), *arguments) == 0
    report = json.loads(path.read_text())
    assert report["schema"] == 1
    assert report["settings"]["streams"] == 5
    assert report["settings"]["url"] == server.url()
    assert report["machine"]["cpus"] == os.cpu_count()
    assert report["versions"]["voxgate"]
    assert report["counts"] == {
        "started": 5,
        "connected": 5,
        "completed": 5,
        "different": 0,
        "refusals": {},
        "refusal_reasons": {},
        "close_codes": {"1000": 5},
        "errors": {},
        "failures": {},
        "differences": [],
    }
    assert report["connect"]["n"] == report["first_result"]["n"] == 5
    for name in ("connect", "first_result", "late"):
        measure = report[name]
        assert 0 <= measure["p50"] <= measure["p95"] <= measure["p99"]
    # Streams start at four places of the recording, and two of the places hear the end of the speech.
    assert 1 <= report["added"]["n"] == report["inactive_to_final"]["n"] <= 5
    assert report["server"]["cpu_cores"] >= 0
    assert report["server"]["memory_mib"] > 10


@pytest.mark.parametrize("options", [(), ("--rate", "48000", "--channels", "2", "--chunk-ms", "100")])
@pytest.mark.parametrize("route", ["segmented", "simple"])
def test_routes_and_formats(
    serve: Any, wav: str, tmp_path: Path, route: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    server, path = serve(), tmp_path / "load.json"
    arguments = ("-n", "2", "-i", wav, *AUDIO, "--route", route, *options, "--json", str(path))
    assert run(host(server.url()), *arguments) == 0
    report = json.loads(path.read_text())
    assert report["counts"]["completed"] == 2
    assert report["added"]["n"] >= 1
    out, err = capsys.readouterr()
    assert "streams      2 of 2 complete" in out
    assert "added latency" in out
    assert err == ""


def test_json_on_stdout_is_nothing_else(serve: Any, wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(host(serve().url()), "-n", "1", "-i", wav, *AUDIO, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["counts"]["completed"] == 1


def test_refusals_are_counted_by_status(serve: Any, wav: str, tmp_path: Path) -> None:
    server, path = serve(**{"limits.streams": 3}), tmp_path / "load.json"
    arguments = ("-n", "5", "-i", wav, *AUDIO, "--route", "simple", "--json", str(path))
    assert run(host(server.url()), *arguments) == 1
    counts = json.loads(path.read_text())["counts"]
    assert (counts["connected"], counts["completed"], counts["refusals"]) == (3, 3, {"503": 2})


def test_errors_of_the_model_are_counted_by_code(serve: Any, wav: str, tmp_path: Path) -> None:
    calls = itertools.count()

    def fails_later(audio: np.ndarray) -> dict[str, int]:
        if next(calls) > 4:
            raise ValueError("no more")
        return {}

    path = tmp_path / "load.json"
    server = serve(fails_later, **{"inference.warm_up": False})
    assert run(host(server.url()), "-n", "2", "-i", wav, *AUDIO, "--route", "simple", "--json", str(path)) == 1
    counts = json.loads(path.read_text())["counts"]
    assert sum(counts["errors"].values()) > 0
    assert counts["completed"] < 2


def answering(*times: tuple[float, float]) -> Callable[..., Any]:
    """A server that answers the first streams as it should, and from the n-th on as `times` says."""

    async def handler(websocket: Any) -> None:
        number = next(numbers)
        start_s, end_s = times[min(number, len(times) - 1)]
        n_bytes = 0
        async for message in websocket:
            if isinstance(message, bytes):
                before, n_bytes = n_bytes, n_bytes + len(message)
                if before < 38_400 <= n_bytes:  # 1.2 s
                    for event in (
                        {"type": "active", "time": start_s},
                        {"type": "inactive", "time": end_s},
                        {"type": "segment", "start_time": start_s, "end_time": end_s, "is_final": True, "count": 1},
                    ):
                        await websocket.send(json.dumps({**event, "channel": 0}))
            elif json.loads(message)["request"] == "stop":
                return

    numbers = itertools.count()
    return handler


def test_a_server_that_answers_as_when_alone_is_right(wav: str) -> None:
    with serving_in_thread(answering((0.2, 0.6))) as addr:
        assert run(addr, "-n", "1", "-i", wav, *AUDIO) == 0


def test_other_results_than_alone_are_an_error(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    # The reference takes two streams; the third is the load.
    with serving_in_thread(answering((0.2, 0.6), (0.2, 0.6), (0.2, 0.632))) as addr:
        assert run(addr, "-n", "1", "-i", wav, *AUDIO) == 1
    out = capsys.readouterr().out
    assert "different    1 streams, such as: Inactive(time=0.632" in out
    assert "where the reference has 0.6" in out


def test_a_server_that_does_not_agree_with_itself_is_no_reference(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_in_thread(answering((0.2, 0.6), (0.2, 0.632))) as addr:
        assert run(addr, "-n", "1", "-i", wav, *AUDIO) == 1
    assert "different results for the same audio" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--no-reference",), ("--route", "simple")])
def test_a_server_that_behaves_as_streamer_template(wav: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    """It ends with an empty close frame, and where speech begins and ends depends on how the audio arrives."""
    path = tmp_path / "load.json"
    with serving_in_thread(streamer_template.handler) as addr:
        assert run(host(addr), "-n", "3", "-i", wav, *AUDIO, *options, "--json", str(path)) == 0
    report = json.loads(path.read_text())
    assert report["counts"]["completed"] == 3
    assert report["counts"]["close_codes"] == {"1005": 3}
    assert report["first_result"]["n"] == 3


def test_without_a_reference_every_utterance_needs_its_final(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def forgetful(websocket: Any) -> None:
        async for message in websocket:
            if isinstance(message, str) and json.loads(message)["request"] == "stop":
                await send(websocket, active(0.1), inactive(0.6))
                return

    with serving_in_thread(forgetful) as addr:
        assert run(host(addr), "-n", "1", "-i", wav, *AUDIO, "--no-reference") == 1
    assert "no final result for 0.100-0.600 s" in capsys.readouterr().out


class JumpingClock:
    """Real time, which now and then is later than it was by 50 ms: what a process sees that did not get the CPU."""

    def __init__(self) -> None:
        self.calls = 0
        self.ahead_s = 0.0

    def __call__(self) -> float:
        self.calls += 1
        if self.calls % 50 == 0:
            self.ahead_s += 0.05
        return time.perf_counter() + self.ahead_s


def test_a_generator_that_was_late_marks_its_numbers(
    serve: Any, wav: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "load.json"
    arguments = ("-n", "2", "-i", wav, *AUDIO, "--json", str(path))
    assert run(host(serve().url()), *arguments, clock=JumpingClock(), late_ms="5") == 3
    out = capsys.readouterr().out
    assert "This program was late by more than 5 ms (p99)" in out
    assert "Rows marked ~" in out
    lines = out.splitlines()
    for name in ("connect", "first result", "server"):
        assert (
            [line for line in lines if line.startswith(name)]
            == [line for line in lines if line.startswith(f"{name} ~ ")]
            != []
        )
    report = json.loads(path.read_text())
    assert report["is_late"]
    assert report["late"]["p99"] > 5
    assert report["connect"]["n"] == report["first_result"]["n"] == 2


def test_a_route_that_the_model_cannot_serve(serve: Any, wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(host(serve().url()), "-n", "2", "-i", wav, *AUDIO, "--route", "stateful") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("streams      0 of 2 complete")
    assert lines[2].startswith("refused      2 x HTTP 501 (")
    assert "state" in lines[2]
    assert lines[3:] == ["The server accepted no stream, so there are no measurements."]


def test_the_reference_is_the_only_stream_and_waits_for_a_busy_server(wav: str) -> None:
    open_now, most_open, n_asked = 0, 0, 0
    answer = answering((0.2, 0.6))

    async def handler(websocket: Any) -> None:
        nonlocal open_now, most_open
        open_now += 1
        if n_admitted <= 8:  # the references, two streams for each of four places
            most_open = max(most_open, open_now)
        try:
            await answer(websocket)
        finally:
            open_now -= 1

    n_admitted = 0

    def busy(connection: Any, request: Any) -> Any:
        nonlocal n_asked, n_admitted
        if request.path == "/metrics":
            return connection.respond(404, "none here")
        n_asked += 1
        if n_asked in (1, 2, 4):
            response = connection.respond(503, "busy")
            response.headers["Retry-After"] = "0"
            return response
        n_admitted += 1
        return None

    with serving_in_thread(handler, process_request=busy) as addr:
        assert run(addr, "-n", "4", "-i", wav, *AUDIO) == 0
    assert n_admitted == 12
    assert most_open == 1


@pytest.mark.parametrize("retry_after", [None, "31", "soon"])
def test_a_server_that_stays_busy(wav: str, capsys: pytest.CaptureFixture[str], retry_after: str | None) -> None:
    def busy(connection: Any, request: Any) -> Any:
        response = connection.respond(503, json.dumps({"error": "calls wait\x1b for the model"}))
        if retry_after is not None:
            response.headers["Retry-After"] = retry_after
        return response

    with serving_in_thread(answering((0.2, 0.6)), process_request=busy) as addr:
        assert run(addr, "-n", "1", "-i", wav, *AUDIO) == 1
    assert capsys.readouterr().err.endswith(": HTTP 503: calls wait  for the model\n")


def test_nobody_there(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("127.0.0.1:9", "-n", "1", "-i", wav, *AUDIO) == 1
    err = capsys.readouterr().err
    assert err == "voxgate load: reference run at ws://127.0.0.1:9/api/v1/segmented: connection refused\n"


def test_a_server_that_speaks_tls(wav: str, capsys: pytest.CaptureFixture[str]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serving_in_thread(answering((0.2, 0.6)), ssl=context) as addr:
        assert run(addr, "-n", "1", "-i", wav, *AUDIO) == 1
    said = "closed without an answer to the upgrade (the address of a server with TLS begins with wss://)"
    assert said in capsys.readouterr().err


def usage() -> Iterator[tuple[tuple[str, ...], str]]:
    yield ("--ramp", "5", "--duration", "5"), "--ramp 5 must be shorter than --duration 5"
    yield ("-i", "no-such.wav"), "No such file or directory: no-such.wav"
    yield ("--addr", "ftp://x"), "expected ws, wss, http, https, grpc or grpcs"
    yield ("--rate", "11025"), "20 ms is not a whole number of samples at 11025 Hz"
    yield ("--token", "a\nb"), "expected one token, without blanks"


@pytest.mark.parametrize(("arguments", "complaint"), list(usage()))
def test_wrong_usage(arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("127.0.0.1:9", *arguments) == 2
    assert complaint in capsys.readouterr().err


def test_without_a_second_of_all_streams_there_is_nothing_to_report(
    serve: Any, wav: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host(serve().url()), "-n", "2", "-i", wav, "--duration", "0.8", "--ramp", "0.6") == 1
    out = capsys.readouterr().out
    assert "streams      2 of 2 complete" in out
    assert "All streams were never live for a second" in out
    assert "added latency" not in out


@pytest.mark.parametrize("route", ["segmented", "simple"])
def test_streams_may_send_a_container(serve: Any, wav: str, tmp_path: Path, route: str) -> None:
    pytest.importorskip("av")
    server, path = serve(), tmp_path / "load.json"
    arguments = ("-n", "3", "-i", wav, *AUDIO, "--container", "mp3", "--chunk-ms", "100", "--json", str(path))
    assert run(host(server.url()), "--route", route, *arguments) == 0
    counts = json.loads(path.read_text())["counts"]
    assert (counts["completed"], counts["errors"], counts["differences"]) == (3, {}, [])


def test_a_container_needs_the_extra(
    serve: Any, wav: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert run(host(serve().url()), "-i", wav, *AUDIO, "--container", "webm") == 2
    assert "--container encodes with PyAV: install voxgate[media]" in capsys.readouterr().err
