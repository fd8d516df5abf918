"""`voxgate demo`: its options, its server, its exit codes, and signals."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.demo_server import demo_server
from helpers.demo_verb import parse, show
from voxgate.cli import demo
from voxgate.cli.server_process import ServerFailed
from voxgate.models import moonshine
from voxgate.models.default import Choice

TESTS = Path(__file__).parent.parent


def test_a_server_without_routes() -> None:
    code, out = show(demo_server(routes=()))
    assert code == 1
    assert "✗ the server accepts no streams" in out
    assert "utterances detected" not in out


def test_a_missing_file_is_reported_before_a_server_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(parse("--file", "opera")) == 2
    err = capsys.readouterr().err
    assert err.startswith("voxgate demo: No such file or directory: opera\n")
    assert "bundled recordings: demo, stereo, noisy, telephone" in err


@pytest.mark.parametrize("arguments", [["--speed", "0"], ["--speed", "fast"], ["--speed", "2", "--fast"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 2


def test_run_turns_a_failed_server_into_one_line_and_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def failing(*_: object) -> int:
        raise ServerFailed("the server did not start (exit code 2)")

    monkeypatch.setattr(demo, "run_demo", failing)
    assert demo.run(parse()) == 1
    assert capsys.readouterr().err == "voxgate demo: the server did not start (exit code 2)\n"


PROGRAM = """
import asyncio, sys
sys.path.insert(0, {tests!r})
import argparse
from voxgate.cli import demo
parser = argparse.ArgumentParser(prog="voxgate")
demo.register(parser.add_subparsers())
args = parser.parse_args(["demo", *sys.argv[1:]])
real = demo.run_demo
demo.run_demo = lambda args, command, out, interrupts: real(args, {command!r}, out, interrupts)
sys.exit(args.run(args))
"""


def demo_process(*arguments: str) -> subprocess.Popen[str]:
    program = PROGRAM.format(tests=str(TESTS), command=demo_server())
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
            if line.startswith("the server is running at "):
                url = line.split()[5]
                assert page == f"the page to speak to the server: {url}\n"
            page = line
            if line.startswith("Ctrl-C"):
                break
        assert alive(url)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0
        assert "all checks passed" in rest
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
            ("active", "inactive", "interim", "final", "segment", "4 of 4 utterances detected", "results cover all"),
        ),
        pytest.param(
            (),
            (
                "model moonshine, because no model was named and the extra 'moonshine' is installed\n",
                "  He might even have been made amiable himself.\n",
                "  said: he might even have been made amiable himself.\n",
                "✓ 5 of 5 utterances detected",
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
    ("arguments", "environment", "file", "with_captions"),
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
    with_captions: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[argparse.Namespace] = []

    async def run_demo(args: argparse.Namespace, *others: object) -> int:
        seen.append(args)
        return 0

    monkeypatch.setattr(demo, "run_demo", run_demo)
    monkeypatch.setattr(demo, "choose", lambda: Choice("moonshine", "of a test"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert demo.run(parse(*arguments)) == 0
    assert [(args.file, args.with_captions) for args in seen] == [(file, with_captions)]
    chosen = not environment and not {"--model", "model.name=dummy"} & set(arguments)
    assert capsys.readouterr().out == ("model moonshine, because of a test\n" if chosen else "")


def test_the_server_gets_the_model_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    async def run_demo(args: argparse.Namespace, command: list[str], *others: object) -> int:
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
