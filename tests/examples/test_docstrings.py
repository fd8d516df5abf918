"""What each example says at its top about serving it: the commands run as they stand there, and answer what is said."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
READY = re.compile(r"voxgate listening on http://(\S+)")


def docstring(name: str) -> str:
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))
    assert text is not None
    return text


def first_commands(text: str) -> list[list[str]]:
    """The first indented paragraph: how to serve it, then how to talk to it."""
    paragraph = next(part for part in text.split("\n\n") if part.startswith("    "))
    return [shlex.split(line) for line in paragraph.splitlines()]


def messages(text: str) -> list[dict[str, Any]]:
    """The JSON objects in the text, whatever lines they are spread over."""
    found, decoder = [], json.JSONDecoder()
    for match in re.finditer(r"^    \{", text, re.MULTILINE):
        message, _ = decoder.raw_decode(text, match.end() - 1)
        found.append(message)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, tmp_path)
    return tmp_path


def as_typed(words: list[str]) -> list[str]:
    """`voxgate` and `python` are those of this test."""
    return [sys.executable, *(["-m", "voxgate"] if words[0] == "voxgate" else []), *words[1:]]


class Served:
    def __init__(self, words: list[str], folder: Path) -> None:
        assert words[:2] == ["voxgate", "serve"]
        command = [*as_typed(words), "--port", "0"]
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True, env=clean_environment()
            )

    def address(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := READY.search(line):
                return found[1]
        raise AssertionError(f"the server did not start: {self.log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("VOXGATE_")}


@pytest.fixture
def served(folder: Path) -> Iterator[Any]:
    running = []

    def serve(words: list[str]) -> str:
        running.append(Served(words, folder))
        return running[-1].address()

    yield serve
    for server in running:
        server.stop()


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_the_commands_run_and_answer_what_is_said(served: Any, folder: Path, name: str) -> None:
    text = docstring(name)
    serving, *others = first_commands(text)
    address = served(serving)
    got: list[dict[str, Any]] = []
    for words in others:
        is_client = words[:2] == ["voxgate", "client"]
        words = [word.replace("localhost:8080", address) for word in words]
        if is_client:
            words += ["--format", "jsonl", *([] if "--addr" in words else ["--addr", address])]
        done = subprocess.run(as_typed(words), cwd=folder, capture_output=True, text=True, env=clean_environment())
        assert done.returncode == 0, done.stderr
        got += map(json.loads, done.stdout.splitlines()) if is_client else []
    said = messages(text)
    assert said
    for message in said:
        assert any(is_like(one, message) for one in got), (message, got)


def is_like(got: dict[str, Any], said: dict[str, Any]) -> bool:
    """Bounds are left out where they depend on the pace: of what answers whenever audio has arrived."""
    if "is_final" not in said:
        got, said = ({key: one[key] for key in one if key not in ("start_time", "end_time")} for one in (got, said))
    return got.keys() == said.keys() and all(got[key] == pytest.approx(said[key], abs=0.021) for key in said)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_every_other_command_is_one(folder: Path, name: str) -> None:
    """Those that name what a reader has to bring are at least understood."""
    found = re.findall(r"^    ((?:\w+=\S+ )*voxgate .*)$", docstring(name), re.MULTILINE)
    assert len(found) >= 2
    for command in found:
        words = shlex.split(command)
        given = dict(word.split("=", 1) for word in words if re.fullmatch(r"[A-Z_]+=\S+", word))
        words = words[len(given) :]
        if words[1] == "serve":
            words.append("--print-config")
        elif words[1:3] == ["models", "check"]:
            words += ["--seconds", "0"]
        else:
            continue
        environment = clean_environment() | given
        done = subprocess.run(as_typed(words), cwd=folder, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
