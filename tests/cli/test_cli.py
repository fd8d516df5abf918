"""The command line itself: verbs, help, version, and `serve` up to the point where it serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

from voxgate import __version__
from voxgate.cli import VERBS, main
from voxgate.config import dump_toml, load_config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOXGATE_ISA", raising=False)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"voxgate {__version__}\n"


def test_verbose_version_says_which_kernels_run(capsys):
    from voxgate._native import isa

    assert main(["--version", "--verbose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"voxgate {__version__}"
    assert lines[1] == f"kernels: {isa.active()} (of {', '.join(isa.supported())})"
    assert any(line.startswith("numpy: ") for line in lines)


def test_no_verb_prints_the_help(capsys):
    assert main([]) == 2
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize("arguments", [["--version", "--verbose"], ["vad", "demo"], ["serve", "--port", "0"]])
def test_unknown_kernels_are_told_in_one_line(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "voxgate", *arguments],
        env={**os.environ, "VOXGATE_ISA": "foo"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("voxgate: ")
    assert "VOXGATE_ISA" in done.stderr
    assert done.stderr.count("\n") == 1


def test_any_other_import_error_is_a_bug_of_ours(monkeypatch):
    def broken(name):
        raise ImportError("no module named nonsense")

    monkeypatch.setattr("voxgate.cli.importlib.import_module", broken)
    with pytest.raises(ImportError, match="nonsense"):
        main(["vad", "demo"])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert f"voxgate {verb}" in capsys.readouterr().out


def test_print_config_is_a_file_that_gives_the_same_settings(tmp_path, capsys, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({"model": {"delay": 0.5, "jitter": 0.2, "failure_rate": 0.01}}))
    monkeypatch.setenv("VOXGATE_LIMITS_CHANNELS", "2")
    arguments = ["serve", "--config", "config.json", "--port", "9000", "--set", "model.delay=0.1", "--print-config"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    settings = tomllib.loads(printed)
    assert settings["model"] == {"name": "dummy", "delay": 0.1, "jitter": 0.2, "failure_rate": 0.01}
    assert settings["server"]["port"] == 9000
    assert settings["limits"]["channels"] == 2
    (tmp_path / "printed.toml").write_text(printed)
    assert dump_toml(load_config(tmp_path / "printed.toml", environ={})) == printed


def test_options_of_another_model_are_dropped_with_a_notice(tmp_path, capsys, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({"model": {"delay": 0.5}}))
    assert main(["serve", "--config", "config.json", "--model", "features", "--print-config"]) == 0
    printed = capsys.readouterr()
    assert tomllib.loads(printed.out)["model"] == {"name": "features"}
    assert printed.err == (
        'voxgate: options of the model "dummy" are not used, because flag model.name names "features": '
        "delay (file config.json)\n"
    )


@pytest.mark.parametrize(
    ("variable", "text", "error"),
    [
        ("VOXGATE_MODEL_DELAY", "long", "the option 'delay' must be a number, got \"long\""),
        ("VOXGATE_MODEL_DEALY", "1", "unknown option 'dealy': expected one of delay,"),
    ],
)
def test_an_option_that_the_model_cannot_use_stops_the_server(capsys, monkeypatch, variable, text, error):
    monkeypatch.setenv(variable, text)
    assert main(["serve", "--model", "dummy", "--port", "0"]) == 2
    assert f"voxgate: model 'dummy': {error}" in capsys.readouterr().err
