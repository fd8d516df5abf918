"""The parser: which level reports an error. What the verbs print is in test_cli.py."""

from __future__ import annotations

import pytest

from voxgate.cli.parser import Parser, did_you_mean


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="tool")
    made.add_argument("--loud", action="store_true")
    below = made.add_subparsers()
    run = below.add_parser("run")
    run.add_argument("--count", type=int)
    run.add_argument("--kind", choices=("red", "green"))
    return made


def test_known_arguments(parser: Parser) -> None:
    args = parser.parse_args(["--loud", "run", "--count", "3"])
    assert (args.loud, args.count) == (True, 3)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["run", "--cuont", "3"], "tool run: error: unrecognized arguments: --cuont 3 (did you mean --count?)"),
        (["run", "3"], "tool run: error: unrecognized arguments: 3"),
        (["--lout", "run"], "tool: error: unrecognized arguments: --lout (did you mean --loud?)"),
        (["rnu"], "(did you mean run?)"),
        (["run", "--kind", "geen"], "argument --kind: invalid choice: 'geen' (choose from 'red', 'green')"),
    ],
)
def test_errors(
    parser: Parser,
    arguments: list[str],
    error: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.replace("red, green", "'red', 'green'").strip().endswith(error)


def test_did_you_mean() -> None:
    assert did_you_mean("sevre", ("serve", "client")) == " (did you mean serve?)"
    assert did_you_mean("zzz", ("serve", "client")) == ""
