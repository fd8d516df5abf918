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


def test_short_version(capsys):
    assert main(["-V"]) == 0
    assert capsys.readouterr().out == f"voxgate {__version__}\n"


def test_help_imports_no_verb():
    """Nothing that is slow to import: the help comes at once."""
    program = (
        "import sys, voxgate.cli\n"
        "try: voxgate.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}\n"
        "    & {'numpy', 'numba', 'uvloop', 'starlette', 'uvicorn', 'websockets', 'msgspec', 'asyncio'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"    {verb} " in done.stdout for verb in VERBS)


def refused(capsys, *arguments):
    """What the command line prints about arguments that it refuses."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(("typed", "meant"), [("srve", "serve"), ("cleint", "client"), ("model", "models")])
def test_a_verb_that_does_not_exist_suggests_one(capsys, typed, meant):
    assert refused(capsys, typed).endswith(f" (did you mean {meant}?)\n")


def test_an_unknown_verb_that_is_like_no_other_gets_no_suggestion(capsys):
    assert "did you mean" not in refused(capsys, "xyzzy")


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["client", "demo", "--speed", "8"], "usage: voxgate client "),
        (["models", "check", "dummy", "--nonsense"], "usage: voxgate models check "),
        (["--nonsense"], "usage: voxgate "),
    ],
)
def test_an_unknown_option_prints_the_usage_of_its_verb(capsys, arguments, usage):
    err = refused(capsys, *arguments)
    assert err.startswith(usage)
    assert f"{usage.removeprefix('usage: ').strip()}: error: unrecognized arguments: " in err


def test_an_unknown_option_suggests_one(capsys):
    assert "unrecognized arguments: --prot=80 (did you mean --port?)\n" in refused(capsys, "serve", "--prot=80")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--port", "eighty"], '--port must be an integer 0..65535, got "eighty"'),
        (["--drain", "-1"], '--drain must be a number 0..86400, got "-1"'),
        (["--set", "server.port=eighty"], '--set server.port must be an integer 0..65535, got "eighty"'),
        (["--set", "serve.port=80"], "serve: unknown section (did you mean server?)"),
        (["dummy", "--model", "pitch"], "--model pitch: the model is dummy already; give one of them"),
    ],
)
def test_an_error_names_what_was_typed(capsys, arguments, error):
    assert main(["serve", *arguments, "--print-config"]) == 2
    assert capsys.readouterr().err.startswith(f"voxgate: {error}")


def test_an_error_of_the_server_names_the_flag_too(capsys):
    assert main(["serve", "dummy", "--port", "0", "--tls-key", "key.pem"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "voxgate: --tls-key is set: expected server.tls_certificate too"
    )


def test_the_model_may_stand_alone(capsys):
    assert main(["serve", "pitch", "--print-config"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["model"] == {"name": "pitch"}


def test_the_help_of_serve_shows_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "port to listen on; 0 takes a free one (8080)" in text
    assert "address to listen on (127.0.0.1)" in text


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
        'voxgate: options of the model "dummy" are not used, because flag --model names "features": '
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
