"""docs/cli.md: nothing of the command line is missing from it, and nobody's environment is in it."""

from __future__ import annotations

import argparse
import re

import pytest

from tools.reference.cli import cli
from voxgate.cli import VERBS, main, make_parser
from voxgate.cli.serve import FLAGS
from voxgate.config import SETTINGS

PAGE = cli()


def parsers(parser=None):
    parser = parser or make_parser()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def section(prog):
    return re.split(r"^#+ ", PAGE.partition(f"# {prog}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("parser", list(parsers()), ids=lambda parser: parser.prog)
def test_every_option_and_every_exit_code_of_its_help_is_there(parser):
    text = section(parser.prog)
    options = [action for action in parser._actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    for action in options:
        if isinstance(action, argparse._SubParsersAction):
            assert all(f"`{parser.prog} {verb}`" in text for verb in action.choices)
            continue
        for name in action.option_strings or [action.metavar]:
            assert re.search(rf"^\|.*`{re.escape(name)}`", text, re.MULTILINE), name
    said = " ".join(parser.format_help().partition("exit code: ")[2].split()).split("; ")
    assert said[0].startswith("0 ")
    assert [
        f"{code} {meaning}" for code, meaning in re.findall(r"^\| (\d+.*?) \| (.*) \|$", text, re.MULTILINE)
    ] == said


def test_no_help_is_empty_and_every_cell_is_one():
    for parser in parsers():
        for action in parser._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (parser.prog, action.dest)
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert widths <= {3, 5}


def test_the_verbs_are_in_their_order():
    found = re.findall(r"^## voxgate (\w+)$", PAGE, re.MULTILINE)
    assert found == list(VERBS)


def test_the_environment_leaves_no_trace(monkeypatch):
    monkeypatch.setenv("VOXGATE_TOKEN", "s3cret")
    monkeypatch.setenv("COLUMNS", "40")
    assert cli() == PAGE


def test_the_flags_of_serve_set_what_they_say(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    values = {"model": "dummy", "log_level": "debug", "tls_certificate": "a.pem", "tls_key": "b.pem", "host": "::1"}
    for flag, key in FLAGS.items():
        value = values.get(flag, "7")
        assert main(["serve", f"--{flag.replace('_', '-')}", value, "--print-config"]) == 0
        printed = capsys.readouterr().out
        name = key.partition(".")[2]
        assert re.search(rf'^{name} = "?{re.escape(value)}', printed, re.MULTILINE), flag
        assert f"`{key}`" in section("voxgate serve")
        assert key in SETTINGS


def test_an_epilog_that_is_no_list_of_exit_codes_is_seen(monkeypatch):
    from voxgate.cli import vad

    def register(verbs):
        parser = verbs.add_parser("vad", help="x", description="x", epilog="exit code: 0 done; otherwise 1")
        parser.set_defaults(run=None)

    monkeypatch.setattr(vad, "register", register)
    with pytest.raises(ValueError, match="otherwise 1"):
        cli()
