"""`--reload`: a real server that serves the changed model; and which files it watches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from voxgate.cli import main
from voxgate.cli.reload import watched_paths
from voxgate.errors import ConfigError

pytest.importorskip("watchfiles")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_the_directory_of_a_module_and_the_configuration(here: Path) -> None:
    (here / "reloaded_one.py").touch()
    assert watched_paths("reloaded_one:f", "voxgate.toml") == [here, Path("voxgate.toml")]


def test_a_package_alone(here: Path) -> None:
    (here / "reloaded_two").mkdir()
    (here / "reloaded_two" / "__init__.py").touch()
    (here / "reloaded_two" / "deep.py").touch()
    assert watched_paths("reloaded_two.deep:f", None) == [here / "reloaded_two"]


@pytest.mark.parametrize("name", ["pitch", "auto", "onnx:speech.onnx", "no_such_module_of_mine:f", "../x.py:f"])
def test_a_model_without_files_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--reload: expected a model of your own, as pkg\.module:attr, got "):
        watched_paths(name, None)


def test_without_watchfiles_the_error_names_the_extra(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert main(["serve", "pitch", "--reload"]) == 2
    assert capsys.readouterr().err == "voxgate: --reload needs watchfiles: pip install 'voxgate[reload]'\n"


def test_a_server_starts_again_when_its_model_changes(here: Path) -> None:
    model = here / "reloaded.py"
    model.write_text("def f(audio):\n    return {}\n\nprint('first', flush=True)\n")
    command = [sys.executable, "-m", "voxgate", "serve", "reloaded:f", "--reload", "--port", "0"]
    settings = {"VOXGATE_INFERENCE_WARM_UP": "false", "VOXGATE_VAD_DETECTOR": "energy"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **settings}
    )
    try:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line.partition(" ")[0].strip() if line[0] != " " else "")
            if line.startswith("voxgate listening on"):
                if "second" in seen:
                    break
                model.write_text(model.read_text().replace("first", "second"))
        assert [word for word in seen if word] == ["first", "voxgate", "second", "voxgate"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
