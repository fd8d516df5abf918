"""`voxgate demo`: with servers of every temper, and with the real one."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from voxgate import speech
from voxgate.cli import demo
from voxgate.cli.demo import Heard, ServerFailed, compare, running_server
from voxgate.models import moonshine
from voxgate.models.default import Choice
from voxgate.speech import Utterance

TESTS = Path(__file__).parent.parent

# A server that knows the truth of the bundled speech, and can be told to misbehave.
FAKE_SERVER = """
import asyncio, json, signal, sys
sys.path.insert(0, {tests!r})
from scripted_server import active, error, final, inactive, interim, receive_session, segment, send, serving
from voxgate import speech
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
    for channel, utterances in enumerate(speech.truth(name)):
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


def fake(
    name: str = "demo",
    late_s: float = 0.02,
    lose: int = 0,
    fail: bool = False,
    code: int = 0,
    routes: Sequence[str] = ("segmented", "simple"),
) -> list[str]:
    text = FAKE_SERVER.format(
        tests=str(TESTS), late_s=late_s, lose=lose, name=name, fail=fail, code=code, routes=tuple(routes)
    )
    return [sys.executable, "-c", text, "serve"]


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="voxgate")
    demo.register(parser.add_subparsers())
    return parser.parse_args(["demo", *arguments])


class Utf8(io.StringIO):
    encoding = "utf-8"


def show(command: Sequence[str], *arguments: str) -> tuple[int, str]:
    out = Utf8()
    code = asyncio.run(demo.run_demo(parse("--fast", *arguments), command, out))
    return code, out.getvalue()


# ----------------------------------------------------------------------------------------------- what it shows


@pytest.mark.parametrize("name", ["demo", "stereo"])
def test_a_good_server(name: str) -> None:
    code, out = show(fake(name), "--file", name)
    assert code == 0
    n_said = sum(len(utterances) for utterances in speech.truth(name))
    for word in ("active", "inactive", "interim", "final", "segment"):
        assert word in out
    assert f"✓ {n_said} of {n_said} utterances heard, at most 20 ms off" in out
    assert out.count(", spoken ") == n_said
    assert "✓ 2 results cover all 12.50 s" in out or "✓ 4 results cover all 8.00 s of 2 channels" in out
    assert out.rstrip().endswith("✓ all went well")
    assert "✗" not in out
    assert "\x1b" not in out
    assert ("ch 1" in out) == (name == "stereo")


@pytest.mark.parametrize(
    ("routes", "shown"),
    [
        (("segmented", "simple"), ["segmented", "simple"]),
        (("segmented", "simple", "stateful"), ["segmented", "stateful"]),
        (("stateful",), ["stateful"]),
    ],
)
def test_the_routes_that_the_server_takes_are_shown(routes: Sequence[str], shown: list[str]) -> None:
    code, out = show(fake(routes=routes))
    assert (code, "✗" in out) == (0, False)
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith(("se", "si", "stateful"))] == shown
    assert ("at most 20 ms off" in out) == ("(vad: prefix_padding_ms 0)" in out) == ("segmented" in shown)
    if "stateful" in shown:
        assert "pitch_hz [101 items, 100 to 199]" in out
        assert "total 7" in out  # the closing result, though it is in the same second
        assert "✓ 2 results cover all 12.50 s" in out


def test_a_server_without_routes() -> None:
    code, out = show(fake(routes=()))
    assert code == 1
    assert "✗ the server takes no streams" in out
    assert "utterances heard" not in out


def test_heard_stands_beside_spoken() -> None:
    _, out = show(fake())
    assert "✓ heard  0.72– 3.13 s, spoken  0.70– 3.11 s  “Good morning! Did the boat arrive?”" in out
    assert (
        "spoken: “Good morning! Did the boat arrive?” “Yeah, and everybody liked it.”" in out
    )  # beside simple results


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (fake(late_s=0.15), "✗ 4 of 4 utterances heard, at most 150 ms off"),
        (fake(lose=1), "✗ not heard, spoken 0.70–3.11 s  “Good morning! Did the boat arrive?”"),
        (fake(fail=True), "no luck (inference_failed)"),
    ],
)
def test_what_goes_wrong_is_shown_and_exits_with_1(command: list[str], text: str) -> None:
    code, out = show(command)
    assert code == 1
    assert text in out
    assert out.rstrip().endswith("✗ something went wrong, see above")


def test_a_file_of_ones_own_has_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "own.flac"
    path.write_bytes(speech.path("demo").read_bytes())
    code, out = show(fake(), "--file", str(path))
    assert code == 0
    assert "utterances heard" not in out
    assert "spoken" not in out


def test_a_missing_file_is_told_before_a_server_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(parse("--file", "opera")) == 2
    err = capsys.readouterr().err
    assert err.startswith("voxgate demo: No such file or directory: opera\n")
    assert "bundled speech: demo, stereo, noisy, telephone" in err


@pytest.mark.parametrize("arguments", [["--speed", "0"], ["--speed", "fast"], ["--speed", "2", "--fast"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 2


# --------------------------------------------------------------------------------------------------- comparing


TRUTH = ((Utterance(1.0, 2.0, "one", "a"), Utterance(3.0, 4.0, "two", "b")), (Utterance(1.5, 2.5, "three", "c"),))


def test_compare_pairs_by_overlap_and_channel() -> None:
    heard = [Heard(1, 1.52, 2.55), Heard(0, 3.0, 4.0), Heard(0, 1.01, 2.03)]
    comparison = compare(heard, TRUTH)
    assert [(one.channel, said.text) for one, said in comparison.pairs] == [(0, "one"), (1, "three"), (0, "two")]
    assert comparison.largest_difference_s == pytest.approx(0.05)
    assert comparison.agrees


@pytest.mark.parametrize(
    ("heard", "n_missed", "n_extra"),
    [
        ([], 3, 0),
        ([Heard(0, 1.0, 4.0), Heard(1, 1.5, 2.5)], 1, 0),  # two utterances heard as one
        ([Heard(0, 1, 2), Heard(0, 3, 4), Heard(1, 1.5, 2.5), Heard(0, 5, 6)], 0, 1),
        ([Heard(0, 1, 2), Heard(0, 3, 3.4), Heard(0, 3.5, 4), Heard(1, 1.5, 2.5)], 0, 1),  # one heard as two
        ([Heard(0, 1, 2), Heard(0, 3, 4), Heard(2, 1.5, 2.5)], 1, 1),
    ],
)
def test_compare_finds_what_is_missed_and_what_nobody_said(heard: list[Heard], n_missed: int, n_extra: int) -> None:
    comparison = compare(heard, TRUTH)
    assert (len(comparison.missed), len(comparison.extra)) == (n_missed, n_extra)
    assert not comparison.agrees


def test_compare_wants_100_ms() -> None:
    others = [Heard(0, 3, 4), Heard(1, 1.5, 2.5)]
    assert compare([Heard(0, 1.09, 2.0), *others], TRUTH).agrees
    assert not compare([Heard(0, 1.0, 1.89), *others], TRUTH).agrees


# ----------------------------------------------------------------------------------------- the server process


def python(text: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text)]


async def start_and_stop(command: Sequence[str], start_timeout_s: float = 30, stop_timeout_s: float = 30) -> str:
    async with running_server(command, start_timeout_s, stop_timeout_s) as url:
        return url


def test_the_server_is_started_and_stopped() -> None:
    url = asyncio.run(start_and_stop(fake()))
    assert url.startswith("http://127.0.0.1:")


def test_a_server_that_dies_at_its_start_shows_its_log() -> None:
    command = python("import sys; print('no model of that name', file=sys.stderr); sys.exit(2)")
    with pytest.raises(ServerFailed, match=r"did not start \(exit code 2\)\n  \| no model of that name"):
        asyncio.run(start_and_stop(command))


def test_a_server_that_never_gets_ready_is_given_up() -> None:
    command = python("import sys, signal; print('warming up', file=sys.stderr, flush=True); signal.pause()")
    with pytest.raises(ServerFailed, match=r"not ready within 1 s\n  \| warming up"):
        asyncio.run(start_and_stop(command, start_timeout_s=1))


def test_a_server_that_ignores_sigterm_is_killed_and_told() -> None:
    command = python(
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("voxgate listening on http://127.0.0.1:1", flush=True)
        while True:
            signal.pause()
        """
    )
    with pytest.raises(ServerFailed, match=r"did not stop within 0\.1 s"):
        asyncio.run(start_and_stop(command, stop_timeout_s=0.1))


def test_a_server_that_ends_badly_is_told() -> None:
    with pytest.raises(ServerFailed, match=r"exit code 3\n  \| something for the log"):
        asyncio.run(start_and_stop(fake(code=3)))


def test_a_server_that_ends_by_the_signal_itself_is_fine() -> None:
    command = python(
        """
        import signal
        print("voxgate listening on http://127.0.0.1:1", flush=True)
        signal.pause()
        """
    )
    assert asyncio.run(start_and_stop(command)) == "http://127.0.0.1:1"


def test_run_turns_a_failed_server_into_one_line_and_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def failing(*_: object) -> int:
        raise ServerFailed("the server did not start (exit code 2)")

    monkeypatch.setattr(demo, "run_demo", failing)
    assert demo.run(parse()) == 1
    assert capsys.readouterr().err == "voxgate demo: the server did not start (exit code 2)\n"


# ------------------------------------------------------------------------------------- real processes and signals

PROGRAM = """
import asyncio, sys
sys.path.insert(0, {tests!r})
import argparse
from voxgate.cli import demo
parser = argparse.ArgumentParser(prog="voxgate")
demo.register(parser.add_subparsers())
args = parser.parse_args(["demo", *sys.argv[1:]])
real = demo.run_demo
demo.run_demo = lambda args, command, out: real(args, {command!r}, out)
sys.exit(args.run(args))
"""


def demo_process(*arguments: str) -> subprocess.Popen[str]:
    program = PROGRAM.format(tests=str(TESTS), command=fake())
    return subprocess.Popen(
        [sys.executable, "-c", program, "--model", "features", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def alive(url: str) -> bool:
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), 5).close()
    except OSError:
        return False
    return True


def test_keep_leaves_the_server_until_ctrl_c() -> None:
    with demo_process("--fast", "--keep") as process:
        assert process.stdout is not None
        url = page = ""
        for line in process.stdout:
            if line.startswith("the server goes on at "):
                url = line.split()[5]
                assert page == f"the page to speak to it: {url}\n"
            page = line
            if line.startswith("Ctrl-C"):
                break
        assert alive(url)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0
        assert "all went well" in rest
        assert not alive(url)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_the_server_too(number: signal.Signals, code: int) -> None:
    with demo_process("--speed", "0.01") as process:
        assert process.stdout is not None
        url = ""
        for line in process.stdout:
            if line.startswith("ready after"):
                url = line.split()[-1]
            if line.startswith("segmented"):
                break
        assert alive(url)
        process.send_signal(number)
        assert process.wait(60) == code
        assert not alive(url)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--model", "features"),
            ("active", "inactive", "interim", "final", "segment", "4 of 4 utterances heard", "results cover all"),
        ),
        pytest.param(
            (),
            (
                "model moonshine, because no model was named and the extra 'moonshine' is installed\n",
                "  He might even have been made amiable himself.\n",
                "  said: he might even have been made amiable himself.\n",
                "✓ 5 of 5 utterances heard",
                "✓ word error rate ",
            ),
            marks=pytest.mark.skipif(moonshine.missing() is not None, reason="moonshine is optional"),
        ),
    ],
)
def test_the_real_server(options: Sequence[str], words: Sequence[str]) -> None:
    """The whole thing, as `make demo` runs it but faster."""
    command = [sys.executable, "-m", "voxgate", "demo", "--fast", *options]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VOXGATE_")}
    environment["PYTHONIOENCODING"] = "utf-8"
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "file", "captions"),
    [
        (("--model", "features"), {}, "demo", False),
        (("--model", "moonshine"), {}, "reading", True),
        (("--model", "moonshine:weights", "--file", "noisy"), {}, "noisy", True),
        (("--set", "model.name=dummy"), {}, "demo", False),
        (("--set", "nonsense"), {}, "reading", True),  # the server will refuse it
        ((), {"VOXGATE_MODEL": "pitch"}, "demo", False),
        ((), {}, "reading", True),
    ],
)
def test_moonshine_is_shown_human_speech(
    arguments: Sequence[str],
    environment: dict[str, str],
    file: str,
    captions: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[argparse.Namespace] = []

    async def run_demo(args: argparse.Namespace, command: list[str], out: object) -> int:
        seen.append(args)
        return 0

    monkeypatch.setattr(demo, "run_demo", run_demo)
    monkeypatch.setattr(demo, "choose", lambda: Choice("moonshine", "of a test"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert demo.run(parse(*arguments)) == 0
    assert [(args.file, args.captions) for args in seen] == [(file, captions)]
    chosen = not environment and not {"--model", "model.name=dummy"} & set(arguments)
    assert capsys.readouterr().out == ("model moonshine, because of a test\n" if chosen else "")


def test_the_server_gets_the_model_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    async def run_demo(args: argparse.Namespace, command: list[str], out: object) -> int:
        commands.append(command[3:])
        return 0

    monkeypatch.setattr(demo, "run_demo", run_demo)
    assert demo.run(parse()) == 0
    assert demo.run(parse("--model", "pocketsphinx", "--set", "vad.threshold=0.6", "--set", "model.lm=a")) == 0
    serve = ["serve", "--host", "127.0.0.1", "--port", "0"]
    assert commands == [
        serve,
        [
            *serve,
            *("--model", "pocketsphinx", "--set", "simple.min_chunk_ms=2000"),
            *("--set", "vad.threshold=0.6", "--set", "model.lm=a"),
        ],
    ]
