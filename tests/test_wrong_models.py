"""What somebody reads whose model is wrong: one line, at the earliest moment, that says what to change."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from helpers.transcription_server import transcription_server
from helpers.wire import FLUSH, STOP, Client, start
from voxgate import InferenceError, Model
from voxgate.errors import ModelLoadError
from voxgate.testing import serving

TRIAL = "model 'Mine': the trial call with a second of noise gave a bad result: "
REMEDY = "; correct the model, or start the server with inference.start_anyway"
COROUTINE = "expected a result, but got a coroutine: define the method with async def, and await in it"
RESULT = "expected a mapping with string keys, a msgspec Struct, a dataclass, a str or None, not an object of type "
INFER = "model 'Mine': expected Mine to define infer(self, audio) or infer(self, audio, request), but its infer "


def made(body: str) -> type[Any]:
    """The class ``Mine`` with this body."""
    names: dict[str, Any] = {"Model": Model, "msgspec": msgspec, "np": np, "InferenceError": InferenceError}
    exec(compile(f"class Mine(Model):\n    {body}", "mine.py", "exec", dont_inherit=True), names)
    found: type[Any] = names["Mine"]
    return found


def refusal(model: Any, settings: dict[str, Any] | None = None) -> str:
    """What the start says."""
    with pytest.raises(ModelLoadError) as raised, serving(model, settings):
        pass
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def infer(self, audio): return [1, 2]", f"{RESULT}'list'"),
        ("def infer(self, audio): return 0.5", f"{RESULT}'float'"),
        ("def infer(self, audio): return {1: 2}", "expected a result with string keys, but a key is of type 'int'"),
        ("def infer(self, audio): return {'type': 'x'}", 'the key "type" of the result is reserved'),
        (
            "def infer(self, audio): return {'x': object()}",
            'the key "x" of the result cannot be sent as JSON: object has no JSON form',
        ),
        ("async def infer(self, audio): return [1]", f"{RESULT}'list'"),
        ("async def infer(self, audio): yield [1]", f"{RESULT}'list'"),
        ("def infer(self, audio): return self.wait()\n    async def wait(self): pass", COROUTINE),
        ("async def infer(self, audio): return self.wait()\n    async def wait(self): pass", COROUTINE),
        ("def infer(self, audio): yield {'text': 'a'}; yield [1]", f"{RESULT}'list'"),
        ("def step(self, audio, state): return [1]", f"{RESULT}'list'"),
        (
            "infer = lambda self, audio: {}; infer_batch = lambda self, batch: [{}]",
            "expected infer_batch to return 2 results, one per item, not 1",
        ),
        ("infer = lambda self, audio: {}; infer_batch = lambda self, batch: [[]] * 2", f"{RESULT}'list'"),
    ],
)
def test_a_wrong_result_ends_the_start(body: str, reason: str) -> None:
    assert refusal(made(body)) == TRIAL + reason + REMEDY


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("def infer(self): return {}", f"{INFER}takes no argument"),
        ("def infer(self, audio, request, language): return {}", f"{INFER}also requires language"),
        ("def infer(self, audio, *, language): return {}", f"{INFER}also requires language"),
        (
            "def step(self, audio): return {}",
            "model 'Mine': expected Mine to define step(self, audio, state), but its step takes only audio",
        ),
        ("def predict(self, audio): return {}", "model 'Mine': expected Mine to define infer(self, audio)"),
        (
            "async def infer(self, audio): return {}\n    def step(self, audio, state): return {}",
            "model 'Mine': expected all calls of Mine to be async def, or none, but infer is and step is not: it would"
            " block the event loop",
        ),
    ],
)
def test_a_missing_argument_or_method_ends_the_start(body: str, text: str) -> None:
    assert refusal(made(body)) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("class Options: language = 'en'", "expected Options to be a class derived from msgspec.Struct, not "),
        (
            "class Options(msgspec.Struct): weights: np.ndarray = None",
            "Options cannot be described in JSON: type <class 'numpy.ndarray'> is not supported",
        ),
    ],
)
def test_options_that_no_client_can_send_end_the_start(body: str, text: str) -> None:
    model = made(f"{body}\n    def infer(self, audio, request): return {{}}")
    assert refusal(model).startswith(f"model 'Mine': {text}")


def test_a_wrong_option_of_the_server_ends_the_start() -> None:
    model = made("def __init__(self, size: int): pass\n    def infer(self, audio): return {}")
    assert refusal(model) == "model 'Mine': the option 'size' is required and missing"
    assert refusal(model, {"model.size": "big"}) == "model 'Mine': the option 'size' must be an integer, got \"big\""
    assert (
        refusal(model, {"model.sise": 1})
        == "model 'Mine': unknown option 'sise': expected one of size; did you mean 'size'?"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"langauge": "de"},
            "options.langauge: unknown, got \"de\"; expected one of language; did you mean 'language'?",
        ),
        ({"language": "fr"}, 'options.language: expected one of "de", "en", got "fr"'),
    ],
)
def test_a_wrong_option_of_a_client_ends_its_start_alone(options: dict[str, Any], text: str) -> None:
    model = made(
        "class Options(msgspec.Struct):\n"
        "        language: __import__('typing').Literal['en', 'de'] = 'en'\n"
        "    def infer(self, audio, request): return {'language': request.options.language}"
    )
    with serving(model) as server, Client(server.url("simple")) as client:
        client.send(start(options=options))
        error = client.receive()
        assert error is not None
        assert (error["type"], error["code"], error["message"]) == ("error", "invalid_start", text)
        client.send(start(options={"language": "de"}), bytes(3200), STOP)
        assert {event["language"] for event in client.rest()} == {"de"}


def test_a_remote_server_that_does_not_run_ends_the_start() -> None:
    pytest.importorskip("httpx")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{holder.getsockname()[1]}/v1"
        text = refusal(f"openai:{url}")
    assert text == f"model 'openai': the server {url} does not answer: All connection attempts failed"


@pytest.mark.parametrize(
    "body",
    [
        "def infer(self, audio): return {}",
        "async def infer(self, audio): return {}",
        "def step(self, audio, state): return {}",
    ],
)
def test_options_that_reach_no_method(body: str) -> None:
    model = made(f"class Options(msgspec.Struct):\n        language: str = 'en'\n    {body}")
    assert refusal(model) == (
        "model 'Mine': its Options reach no method: expected infer(self, audio, request) or open(self, request), which"
        " read request.options"
    )


def test_options_of_a_function_that_takes_no_request() -> None:
    def level(audio: Any) -> dict[str, float]:
        return {}

    level.Options = msgspec.defstruct("Options", [("language", str, "en")])  # type: ignore[attr-defined]
    assert refusal(level) == (
        "model 'level': its Options reach no function: expected f(audio, request), which reads request.options"
    )


@pytest.mark.parametrize("place", ["holds_gil = True", "def __init__(self): self.holds_gil = True"])
def test_a_model_that_waits_and_holds_the_gil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    name = f"gil_{len(place)}"
    (tmp_path / f"{name}.py").write_text(
        f"import voxgate\nclass Mine(voxgate.Model):\n    {place}\n    async def infer(self, audio): return {{}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert refusal(f"{name}:Mine") == (
        f"model '{name}:Mine': expected Mine to hold the GIL (holds_gil) or to be async def, but not both: a worker"
        " process makes one call at a time, and elsewhere it would block the server"
    )


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("infer(self, audio): return [1]", f"{TRIAL}{RESULT}'list'{REMEDY}"),
        ("warm_up(self): raise OSError('no GPU')", "warm-up of model 'Mine' failed: OSError: no GPU"),
    ],
)
def test_worker_processes_say_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str, text: str
) -> None:
    name = f"once_{len(method)}"
    (tmp_path / f"{name}.py").write_text(
        "import voxgate\nclass Mine(voxgate.Model):\n"
        f"    holds_gil = True\n    def infer(self, audio): return {{}}\n    def {method}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert refusal(f"{name}:Mine", {"inference.processes": 2}).startswith(text)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_remote_server_that_dies_later_is_an_error_for_each_call_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("httpx")
    with transcription_server() as remote:
        serving_it = serving(f"openai:{remote.url}", {"model.timeout_s": 0.1, "simple.min_chunk_ms": 1000})
        server = serving_it.__enter__()
    try:
        errors = server.collect((np.zeros(48_000, np.float32), 16_000), route="simple")
    finally:
        serving_it.__exit__(None, None, None)
    assert {error.code for error in errors} == {"inference_failed"}
    assert {error.message for error in errors} == {"The model server does not answer"}
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line for line in lines if "model server" in line] == [
        f"the model server {remote.url} does not answer: All connection attempts failed"
    ]


HALF_WAY = """
        yield {'text': 'half'}
        raise RuntimeError('the decoder failed')"""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_that_raises_half_way_is_in_the_log_at_the_start(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With its stack, once. A client gets one error in place of each result."""
    model = made(f"{kind} infer(self, audio):{HALF_WAY}")
    with serving(model) as server:
        logged = [record for record in caplog.records if record.name == "voxgate.inference.engine"]
        stacks = [record for record in logged if record.exc_info]
        assert [str(record.exc_info[1]) for record in stacks if record.exc_info] == ["the decoder failed"]
        assert any("the trial call of model 'Mine' with a second of noise failed" in one.getMessage() for one in logged)
        with Client(server.url("simple")) as client:
            client.send(start(), bytes(1600), FLUSH)
            error = client.receive()
            assert error is not None
            assert (error["code"], error["message"]) == ("internal", "Internal server error")
            client.send(STOP)
            assert client.rest() == []
    assert [record for record in caplog.records if record.exc_info] == stacks


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_that_refuses_half_way_tells_the_client_why(kind: str) -> None:
    model = made(f"{kind} infer(self, audio):{HALF_WAY.replace('RuntimeError', 'InferenceError')}")
    with serving(model) as server, Client(server.url("simple")) as client:
        client.send(start(), bytes(1600), FLUSH, STOP)
        assert [(one["code"], one["message"]) for one in client.rest()] == [("inference_failed", "the decoder failed")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("def infer(self, audio): return [1, 2]", f"{TRIAL}{RESULT}'list'{REMEDY}"),
        ("def infer(self): return {}", INFER.replace("'Mine'", "'mine:Mine'") + "takes no argument"),
    ],
)
def test_the_command_line_says_it_in_one_line(tmp_path: Path, body: str, text: str) -> None:
    (tmp_path / "mine.py").write_text(f"import voxgate\nclass Mine(voxgate.Model):\n    {body}\n")
    command = [sys.executable, "-m", "voxgate", "serve", "--model", "mine:Mine", "--port", "0", "--log-level", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == f"voxgate: {text}"
