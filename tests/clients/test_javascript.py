"""`@voxgate/client` as npm packs it, in Node against scripted and real servers (tests/web has it in Chromium)."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import soundfile

from helpers.javascript import MODULES, PACKAGE, ROOT, SOURCE, install_client
from helpers.scripted_server import (
    Script,
    active,
    error,
    final,
    inactive,
    interim,
    one_channel_ahead,
    refusing,
    saying,
    serving,
    simple_route_that_is_lost,
)
from helpers.wire import start
from helpers.wire import stream as plain_stream
from voxgate import __version__, recordings

# Node 20 has a WebSocket of its own only behind an option, and it drops what came just before a lost connection.
WS = str(MODULES / "ws" / "wrapper.mjs")
NODE, NPM = shutil.which("node"), shutil.which("npm")
TEN_SECONDS = bytes(range(250)) * 1280
PCM = {"sample_rate": 16_000}

pytestmark = pytest.mark.skipif(NODE is None or NPM is None, reason="node and npm are not installed")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked package."""
    return install_client(tmp_path_factory.mktemp("npm"))


@dataclass
class Done:
    """What the program printed, by kind."""

    events: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    sent_s: float | None = None
    closed: bool = False

    def take(self, kind: str, what: Any) -> None:
        if kind in ("event", "notice"):
            getattr(self, f"{kind}s").append(what)
        elif kind == "microphone":
            self.closed = True
        else:
            setattr(self, kind, what)


Run = Callable[..., Done]


@pytest.fixture
def run(packed: Path, tmp_path: Path) -> Run:
    """Runs the program of tests/clients/stream.mjs against a scripted server, or one at a `url`."""

    def command(url: str, audio: bytes, options: dict[str, Any], asked: dict[str, Any]) -> list[str]:
        path = tmp_path / "audio"
        path.write_bytes(audio)
        module = str(packed / "dist" / "index.js")
        what = {"module": module, "url": url, "audio": str(path), "piece_bytes": 3200, "options": options, **asked}
        flags = [] if asked["ws"] else ["--experimental-websocket"]
        return [str(NODE), "--no-warnings", *flags, str(ROOT / "tests/clients/stream.mjs"), json.dumps(what)]

    async def converse(server: Any, url: str | None, path: str, refuse: dict[str, Any], *given: Any) -> bytes:
        async with serving(server, path, max_queue=None, **refuse) as addr:
            process = await asyncio.create_subprocess_exec(
                *command(url or addr, *given), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            try:
                out, err = await asyncio.wait_for(process.communicate(), 60)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert (err.decode(), process.returncode) == ("", 0)
            return out

    def go(
        server: Any = None,
        audio: bytes = TEN_SECONDS,
        *,
        url: str | None = None,
        path: str = "/api/v1/segmented",
        refuse: dict[str, Any] | None = None,
        asked: dict[str, Any] | None = None,
        **options: Any,
    ) -> Done:
        asked = {"ws": WS, **(asked or {})}
        if not asked.get("source", "").startswith("microphone"):
            options = {"format": PCM, **options}
        if asked["ws"] and not Path(WS).exists():
            pytest.skip("make clients installs ws")
        out = asyncio.run(converse(server, url, path, refuse or {}, audio, options, asked))
        done = Done()
        for line in out.splitlines():
            done.take(*json.loads(line))
        return done

    return go


def test_the_package_has_the_source_of_the_page_and_nothing_else(packed: Path) -> None:
    names = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    source = {f"dist/{path.name}" for path in SOURCE.iterdir()}
    assert names == source | {"package.json", "README.md", "LICENSE", "index.d.ts"}
    assert {"dist/index.js", "dist/capture-worklet.js"} <= source
    for name in source:
        assert (packed / name).read_bytes() == (SOURCE / Path(name).name).read_bytes()
    about = json.loads((packed / "package.json").read_text())
    assert about["version"] == __version__
    assert "dependencies" not in about


def test_its_own_tests_in_node() -> None:
    done = subprocess.run(
        [NODE, "--test", "test"], cwd=PACKAGE, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout or "ℹ fail 0" in done.stdout


def test_the_types_are_those_of_the_code(packed: Path, tmp_path: Path) -> None:
    compiler = MODULES / ".bin" / "tsc"
    if not compiler.exists():
        pytest.skip("make clients installs TypeScript")
    (tmp_path / "node_modules" / "@voxgate").mkdir(parents=True)
    (tmp_path / "node_modules" / "@voxgate" / "client").symlink_to(packed)
    shutil.copy(ROOT / "tests/clients/types.mts", tmp_path / "types.mts")
    options = [
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2023,dom,dom.asynciterable",
    ]
    done = subprocess.run(
        [compiler, *options, "types.mts"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == ""


def test_every_name_has_its_type(packed: Path) -> None:
    program = f"console.log(JSON.stringify(Object.keys(await import('{packed}/dist/index.js'))))"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", program], capture_output=True, text=True, timeout=60, check=True
    )
    words = (packed / "index.d.ts").read_text().replace("(", " ").replace("<", " ").split("\n")
    declared = {line.split()[2] for line in words if line.startswith(("export class ", "export function "))}
    assert set(json.loads(done.stdout)) == declared


# Against a real server


def in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of speech, in the order of the audio; when results come between them is left to chance."""
    return sorted(
        (event for event in events if event["type"] in ("active", "inactive", "segment")),
        key=lambda event: (event["type"], event.get("start_time", event.get("time"))),
    )


@pytest.fixture
def demo() -> tuple[bytes, dict[str, Any]]:
    samples, rate = soundfile.read(recordings.path("demo"), dtype="int16")
    return samples.tobytes(), {"sample_rate": rate}


@pytest.mark.parametrize(("source", "ws"), [("iterable", WS), ("stream", None), ("blob", WS)])
def test_the_events_of_a_plain_client(
    serve: Any, run: Run, demo: tuple[bytes, dict[str, Any]], source: str, ws: str | None
) -> None:
    audio, form = demo
    server = serve()
    done = run(None, audio, url=server.url(), format=form, asked={"source": source, "ws": ws})
    expected = plain_stream(server.url(), start(form["sample_rate"]), audio)
    assert done.error is None
    assert in_order(done.events) == in_order(expected)
    assert len(done.events) > 6
    assert done.sent_s == len(audio) / 2 / form["sample_rate"]


def test_a_container_goes_as_it_is(serve: Any, run: Run) -> None:
    pytest.importorskip("av")
    flac = Path(recordings.path("demo")).read_bytes()
    done = run(None, flac, url=serve().url("simple"), format={"container": "flac"}, asked={"source": "blob"})
    assert (done.error, done.events[-1]["end_time"], done.sent_s) == (None, 12.5, 12.5)


def test_the_token_and_the_options_of_the_model(serve: Any, run: Run) -> None:
    server = serve(**{"auth.tokens": "t.k~n/+"})
    assert run(None, bytes(3200), url=server.url("simple"), token=" t.k~n/+\n").error is None
    refused = run(None, bytes(3200), url=server.url("simple"), token="bad").error
    assert refused is not None
    assert (refused["name"], refused["status"], refused["code"]) == ("ConnectError", 401, "unauthorized")
    wrong = run(None, bytes(3200), url=server.url("simple"), token="t.k~n/+", options={"language": "de"}).error
    assert wrong is not None
    assert (wrong["name"], wrong["code"]) == ("RejectedError", "invalid_start")


def test_a_route_that_is_not_served_and_a_server_that_is_not_there(serve: Any, run: Run) -> None:
    error = run(None, url=serve().url("stateful")).error
    assert error is not None
    assert (error["name"], error["status"]) == ("ConnectError", 501)
    for ws in (WS, None):
        error = run(None, url="ws://127.0.0.1:9/api/v1/simple", asked={"ws": ws}).error
        assert error is not None
        expected = ("ConnectError", None, "cannot connect to 127.0.0.1:9")
        assert (error["name"], error["status"], error["message"]) == expected


# Against a scripted one: nothing is lost or repeated, and times go on


def times(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (one["type"], one["time"])
        if "time" in one
        else (one["type"], one["start_time"], one["end_time"], one.get("text"))
        for one in events
    ]


def test_what_had_no_answer_is_sent_again_and_times_go_on(run: Run) -> None:
    server = Script(
        (160_000, saying(active(0.5), inactive(2.0), final(0.5, 2.0, text="one"), active(3.0), abort=True)),
        (None, saying(active(1.0), interim(1.0, 1.5), inactive(2.5), final(1.0, 2.5, text="two"))),
    )
    done = run(server)
    assert done.error is None
    # Answered up to 2.0 s, silent until 3.0 s, where speech was open: its session begins there.
    assert bytes(server.sessions[1].audio) == TEN_SECONDS[3 * 32_000 :]
    assert times(done.events) == [
        ("active", 0.5),
        ("inactive", 2),
        ("segment", 0.5, 2, "one"),
        ("active", 3),
        ("active", 4),
        ("segment", 4, 4.5, None),
        ("inactive", 5.5),
        ("segment", 4, 5.5, "two"),
    ]
    lost, resumed = done.notices
    assert (lost["type"], lost["error"], lost["attempt"]) == ("lost", "the connection was lost", 1)
    assert (resumed["type"], resumed["at_s"], resumed["gap_s"]) == ("resumed", 3, 0)
    assert done.sent_s == 10


def test_lost_while_results_were_owed_after_stop(run: Run) -> None:
    server = Script(
        (None, saying(active(0.0), inactive(1.0), active(8.0), inactive(9.0), final(0.0, 1.0), abort=True)),
        (None, saying(active(0.0), inactive(1.0), final(0.0, 1.0, text="end"))),
    )
    done = run(server)
    assert bytes(server.sessions[1].audio) == TEN_SECONDS[8 * 32_000 :]
    assert server.sessions[1].texts[-1] == {"request": "stop", "disconnect": True}
    assert times(done.events)[-1] == ("segment", 8, 9, "end")


def test_known_silence_is_not_sent_again(run: Run) -> None:
    progress = {"type": "progress", "received_s": 9.5, "processed_s": 9.5, "lag_s": 0, "real_time_factor": 0}
    server = Script((300_000, saying({**progress, "channel": 0}, abort=True)), (None, saying()))
    done = run(server)
    assert server.sessions[0].start["notices"] is True
    assert bytes(server.sessions[1].audio) == TEN_SECONDS[int(2.5 * 32_000) :]
    assert (done.events, done.notices[1]["at_s"]) == ([], 2.5)


def test_notices_that_were_asked_for_go_on_the_streams_clock(run: Run) -> None:
    started = {"type": "started", "session_id": "a", "model": "m", "limits": {}, "channel": 0}
    finished = {"type": "finished", "received_s": 8.0, "processed_s": 8.0, "results": 1, "errors": 0, "channel": 0}

    def numbered(*events: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**event, "segment_id": 0} for event in events]

    server = Script(
        (160_000, saying(started, *numbered(active(0.0), inactive(2.0), final(0.0, 2.0)), abort=True)),
        (None, saying(started, *numbered(active(0.0), inactive(1.0), final(0.0, 1.0)), finished)),
    )
    done = run(server, notices=True)
    assert [event["type"] for event in done.events].count("started") == 2
    assert [event["segment_id"] for event in done.events if event["type"] == "segment"] == [0, 1]
    assert done.events[-1] == {**finished, "received_s": 10, "processed_s": 10, "results": 2}


def test_the_simple_route_goes_on_where_its_cover_ends(run: Run) -> None:
    server = simple_route_that_is_lost()
    done = run(server, path="/api/v1/simple")
    assert bytes(server.sessions[1].audio) == TEN_SECONDS[40_000:]
    assert [one[1:3] for one in times(done.events)] == [(0, 0.4), (0.4, 1.25), (1.25, 10)]


def test_a_channel_that_was_ahead_gets_nothing_twice_and_loses_nothing(run: Run) -> None:
    server = one_channel_ahead()
    done = run(server, TEN_SECONDS * 2, format={**PCM, "channels": 2})
    assert bytes(server.sessions[1].audio) == (TEN_SECONDS * 2)[2 * 64_000 :]
    finals = [(one["channel"], one["start_time"], one["text"]) for one in done.events if one["type"] == "segment"]
    assert finals == [(0, 0, "a"), (1, 1, "b"), (1, 2, "c"), (0, 5, "d")]
    assert [(one["channel"], one["time"]) for one in done.events if one["type"] == "active"] == [
        (0, 0), (1, 1), (1, 2), (1, 2), (0, 5),
    ]  # fmt: skip


def test_what_the_backlog_could_not_hold_is_told(run: Run) -> None:
    server = Script((310_000, saying(abort=True)), (None, saying()))
    resumed = run(server, reconnect={"backlog_bytes": 32_000}).notices[1]
    assert resumed["gap_s"] == resumed["at_s"] > 8.0
    assert bytes(server.sessions[1].audio) == TEN_SECONDS[int(resumed["at_s"] * 32_000) :]


def test_a_container_is_sent_again_from_its_beginning(run: Run) -> None:
    started = {"type": "started", "session_id": "a", "model": "m", "limits": {}, "channel": 0}
    started["format"] = {"container": "webm", "channels": 1, "sample_rate": 16_000}
    one = [active(0.0), inactive(2.0), final(0.0, 2.0, text="one")]
    server = Script(
        (160_000, saying(started, *one, abort=True)),
        (None, saying(started, *one, active(3.0), inactive(4.0), final(3.0, 4.0, text="two"))),
    )
    done = run(server, format={"container": "webm"})
    assert bytes(server.sessions[1].audio) == TEN_SECONDS
    assert [one[3] for one in times(done.events) if one[0] == "segment"] == ["one", "two"]


@pytest.mark.parametrize("code", [1001, 1012, 1013])
def test_a_server_that_closes_for_a_while_is_come_back_to(run: Run, code: int) -> None:
    done = run(Script((3200, saying(error("too much", "overloaded"), then=code)), (None, saying())))
    assert [event["type"] for event in done.events] == ["error"]
    assert done.error is None


def test_a_server_that_shuts_down_is_left_at_once_and_nothing_is_lost(run: Run) -> None:
    async def script(websocket: Any, received: Any) -> None:
        await saying({"type": "draining", "grace_s": 30.0, "channel": 0})(websocket, received)
        async for message in websocket:
            if isinstance(message, str):
                assert json.loads(message) == {"request": "stop", "disconnect": True}
                break
            received.audio += message
        await saying(active(0.0), inactive(0.1), final(0.0, 0.1, text="one"), then=1001)(websocket, received)

    server = Script((3200, script), (None, saying(active(1.0), inactive(2.0), final(1.0, 2.0, text="two"))))
    done = run(server)
    assert done.error is None
    assert [one["type"] for one in done.notices] == ["lost", "resumed"]
    at_s = done.notices[1]["at_s"]
    assert bytes(server.sessions[1].audio) == TEN_SECONDS[round(at_s * 32_000) :]
    assert [one[1:] for one in times(done.events) if one[0] == "segment"] == [
        (0.0, 0.1, "one"),
        (at_s + 1.0, at_s + 2.0, "two"),
    ]


@pytest.mark.parametrize("code", [1000, 1008, 1011])
def test_what_would_happen_again_is_not_tried_again(run: Run, code: int) -> None:
    done = run(Script((3200, saying(then=code))), asked={"endless": True})
    assert done.error is not None
    assert (done.error["name"], done.error["code"], done.notices) == ("ClosedError", code, [])


def test_without_reconnect_a_lost_connection_is_an_error(run: Run) -> None:
    server = Script((3200, saying(abort=True)))
    done = run(server, reconnect=False)
    assert done.error is not None
    assert (done.error["name"], done.error["code"]) == ("ClosedError", 1006)
    assert server.sessions[0].start["notices"] is False


def test_a_server_that_refuses_for_a_while_is_come_back_to(run: Run) -> None:
    server = Script((3200, saying(abort=True)), (None, saying()))
    calls = {"n": 0}

    def refuse(connection: Any, request: Any) -> Any:
        calls["n"] += 1
        if calls["n"] == 1:
            return None
        return None if calls["n"] > 4 else refusing(503)["process_request"](connection, request)

    done = run(server, refuse={"process_request": refuse})
    assert done.error is None
    assert bytes(server.sessions[1].audio) == TEN_SECONDS
    assert [notice["type"] for notice in done.notices][-1] == "resumed"


def test_it_gives_up_after_so_many_attempts_without_an_answer(run: Run) -> None:
    silent = (3200, saying(abort=True))
    answering = (160_000, saying(active(0.0), inactive(1.0), final(0.0, 1.0), abort=True))
    done = run(Script(silent, silent, answering, silent, silent, silent, silent), reconnect={"attempts": 3})
    assert done.error is not None
    assert done.error["name"] == "ClosedError"
    assert [notice["attempt"] for notice in done.notices if notice["type"] == "lost"] == [1, 2, 1, 2, 3]


def test_results_that_are_missing_are_an_error(run: Run) -> None:
    done = run(Script((None, saying(active(0.0), inactive(1.0)))))
    assert done.error is not None
    assert (done.error["name"], done.error["problems"]) == (
        "MissingResults",
        ["channel 0: no final result for 0.000-1.000 s"],
    )


def test_a_source_that_fails_is_answered_up_to_there(run: Run) -> None:
    server = Script((None, saying(active(0.0), inactive(1.0), final(0.0, 1.0))))
    done = run(server, asked={"fails": True})
    assert bytes(server.sessions[0].audio) == TEN_SECONDS
    assert (len(done.events), (done.error or {})["message"]) == (3, "the source is broken")


def test_stop_ends_the_audio_and_the_results_still_come(run: Run) -> None:
    async def script(websocket: Any, received: Any) -> None:
        await saying(active(0.0))(websocket, received)
        async for message in websocket:
            if isinstance(message, str):
                assert json.loads(message) == {"request": "stop", "disconnect": True}
                break
            received.audio += message
        await saying(inactive(10.0), final(0.0, 10.0))(websocket, received)

    server = Script((320_000, script))
    done = run(server, asked={"after": 1, "then": "stop"})
    assert (done.error, len(done.events)) == (None, 3)
    assert bytes(server.sessions[0].audio) == TEN_SECONDS


@pytest.mark.parametrize("how", ["close", "leave"])
def test_the_end_of_everything(run: Run, how: str) -> None:
    done = run(Script((320_000, saying(active(0.0), active(0.0)))), asked={"after": 1, "then": how})
    assert (done.error, len(done.events)) == (None, 1)


def test_a_microphone_is_heard_to_its_end_and_closed(run: Run) -> None:
    async def script(websocket: Any, received: Any) -> None:
        await saying(active(0.0))(websocket, received)
        async for message in websocket:
            if isinstance(message, str):
                break
            received.audio += message
        await saying(inactive(10.0), final(0.0, 10.0))(websocket, received)

    server = Script((300_000, script))
    done = run(server, asked={"source": "microphone", "after": 1, "then": "stop"})
    assert server.sessions[0].start["format"] == {
        "channels": 1,
        "sample_rate": 16_000,
        "bit_depth": 16,
        "is_float": False,
    }
    assert bytes(server.sessions[0].audio) == TEN_SECONDS
    assert (done.error, len(done.events), done.closed) == (None, 3, True)


def test_silence_takes_the_place_of_what_a_microphone_records_beyond_the_backlog(run: Run) -> None:
    server = Script((None, saying()))
    # Recorded before the connection is open: 32 000 bytes are kept, the rest keeps its length.
    run(server, asked={"source": "microphone_ended"}, reconnect={"backlog_bytes": 32_000})
    audio = bytes(server.sessions[0].audio)
    assert len(audio) == len(TEN_SECONDS)
    assert audio == TEN_SECONDS[:32_000] + bytes(len(TEN_SECONDS) - 32_000)
