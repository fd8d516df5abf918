"""A real Chromium with a fake microphone, for the tests of the page. It is the system's own: none is downloaded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import soundfile

from helpers.ports import held_port
from voxgate import recordings

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
TIMEOUT_MS = 60_000

# What a browser says of a server that is gone, or that wants a token, is no mistake of the page.
EXPECTED = ("Failed to load resource", "WebSocket connection to")


def missing(what: str) -> NoReturn:
    if os.environ.get("REQUIRE_CHROMIUM") == "1":
        pytest.fail(f"{what}, and REQUIRE_CHROMIUM=1 asks for it")
    pytest.skip(f"{what}: the page is not tried in a browser")


@pytest.fixture(scope="session")
def microphone_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone hears: the bundled speech, over and over."""
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    samples, rate = soundfile.read(recordings.path("demo"), dtype="int16")
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture(scope="module")
def chromium(microphone_wav: Path) -> Iterator[Any]:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        missing("Chromium is not installed")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(TIMEOUT_MS)
    arguments = [
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone_wav}",
        "--autoplay-policy=no-user-gesture-required",
        # A name that is not this computer's own, so that the page there counts as insecure.
        "--host-resolver-rules=MAP voxgate.test 127.0.0.1",
    ]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # root cannot have one
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """``visit(server)``: the page in a fresh profile. At the end of the test nothing may have gone wrong in it."""
    contexts, complaints = [], []

    def listen(message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            complaints.append(message.text)

    def open_page(server: Any, *, microphone: bool = True, host: str = "127.0.0.1", **options: Any) -> Any:
        permissions = ["microphone", "clipboard-read", "clipboard-write"] if microphone else []
        context = chromium.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "permissions": permissions, **options}
        )
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://{host}:{server.port}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


class Process:
    """`voxgate serve` as a process that can be killed, and started again in the same place."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.process: subprocess.Popen[str] | None = None

    def start(self, delay_s: float = 0) -> None:
        options = ["--port", str(self.port), "--set", "vad.detector=energy", "--set", "inference.warm_up=false"]
        command = [sys.executable, "-m", "voxgate", "serve", "--model", "dummy", *options]
        knobs = [f"delay={delay_s}", "constant_factor=0", "jitter=0", "panic_rate=0", "warmup_penalty=0"]
        command += [part for knob in knobs for part in ("--set", f"model.{knob}")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        assert "listening" in self.process.stdout.readline()

    def end(self, how: int) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.communicate(timeout=30)
            self.process = None


@pytest.fixture
def process():
    with held_port() as port:
        process = Process(port)
        process.start()
        yield process
        process.end(signal.SIGKILL)
