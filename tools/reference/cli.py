"""docs/cli.md: the command line, from its parsers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any, Final

from voxgate.cli import make_parser
from voxgate.cli.arguments import Kind
from voxgate.cli.serve import FLAGS
from voxgate.config import SETTINGS
from voxgate.config.catalogue import plain

__all__ = ["cli"]

_HEAD: Final = """\
# Command line

<!-- Written by `make reference` from the parsers in src/voxgate/cli. Change those, not this file. -->

As in `voxgate VERB --help`. Options may be shortened while they stay unique; a value follows after a space or `=`.
"""
_SECRETS: Final = {"token": "the variable `VOXGATE_TOKEN`"}
"""Options whose default is a secret, and what to write in its place."""

# A help text ends with its default; here that has a column of its own.
_DEFAULT: Final = re.compile(r" ?\(%\(default\)\w\)")
_EXIT_CODES: Final = re.compile(r"^exit code: (.*)\Z", re.MULTILINE | re.DOTALL)
_EXAMPLES: Final = re.compile(r"^examples:\n((?:  .*\n?)+)", re.MULTILINE)


def cli() -> str:
    """The page."""
    parser = make_parser()
    parts = [_HEAD, *_verb(parser, 2)]
    for name, verb in _verbs(parser):
        parts += _verb(verb, 2)
        for _, below in _verbs(verb):
            parts += _verb(below, 3)
        if name == "serve":
            parts.append("`--set` takes any setting of [configuration.md](configuration.md).\n")
    return "\n".join(parts)


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _verb(parser: argparse.ArgumentParser, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {parser.prog}\n"
    yield f"{parser.description}\n"
    arguments, options, *groups = parser._action_groups
    yield from _table(parser, [*arguments._group_actions, *options._group_actions])
    for group in groups:
        if not any(isinstance(action, argparse._SubParsersAction) for action in group._group_actions):
            title = f"{group.title}, {group.description}" if group.description else f"{group.title}"
            yield f"{title[:1].upper()}{_linked(title[1:])}:\n"
            yield from _table(parser, group._group_actions)
    verbs = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in verbs:
        rows = [
            f"| [`{parser.prog} {verb.dest}`](#{parser.prog.replace(' ', '-')}-{verb.dest}) | {verb.help} |\n"
            for verb in action._choices_actions
        ]
        yield "| verb | |\n|---|---|\n" + "".join(rows)
    epilog = parser.epilog or ""
    if examples := _EXAMPLES.search(epilog):
        lines = "".join(f"{line.strip()}\n" for line in examples[1].splitlines())
        yield f'```sh no-run="examples with files and servers of your own"\n{lines}```\n'
    codes = _EXIT_CODES.search(epilog)
    rest = _EXIT_CODES.sub("", _EXAMPLES.sub("", epilog))
    yield from (f"{_linked(_line(paragraph))}\n" for paragraph in rest.split("\n\n") if paragraph.strip())
    if codes is None:
        raise ValueError(f"{parser.prog} says nothing of its exit codes")
    yield "| exit code | |\n|---|---|\n" + "".join(_exit_code(text) for text in _line(codes[1]).split("; "))


def _table(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> Iterator[str]:
    shown = [action for action in actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    if shown:
        yield "| | value | default | |\n|---|---|---|---|\n" + "".join(_row(parser, action) for action in shown)


def _linked(text: str) -> str:
    return re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)


def _exit_code(text: str) -> str:
    found = re.fullmatch(r"(\d+(?: and \d+)*) (.+)", text)
    if found is None:
        raise ValueError(f"an exit code is a number and what it means, not {text!r}")
    return f"| {found[1]} | {found[2]} |\n"


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.option_strings:
        name = ", ".join(f"`{option}`" for option in action.option_strings)
        value = (
            "" if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction) else _value(action, metavar)
        )
    else:
        name, value = f"`{metavar}`", _value(action, "")
    text = _DEFAULT.sub("", action.help or "")
    if parser.prog.endswith(" serve") and action.dest in FLAGS:
        text = text.removesuffix(f" ({plain(SETTINGS[FLAGS[action.dest]].default)})")
    fields: dict[str, Any] = {**vars(action), "prog": parser.prog}
    return f"| {name} | {value} | {_default(parser, action)} | {_cell(text % fields)} |\n"


def _value(action: argparse.Action, metavar: str) -> str:
    if action.choices is not None:
        return ", ".join(f"`{choice}`" for choice in action.choices)
    what = action.type.expected if isinstance(action.type, Kind) else ""
    what = what.removeprefix("a whole number of ").removeprefix("a number of ").removeprefix("a number ")
    more = " ..." if action.nargs == "+" else ""
    return _cell(", ".join(filter(None, [f"`{metavar}{more}`" if metavar else "", what])))


def _default(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if action.dest in _SECRETS:
        return _SECRETS[action.dest]
    if parser.prog.endswith(" serve") and action.dest in FLAGS:
        key = FLAGS[action.dest]
        default = SETTINGS[key].default
        return f"`{key}`" + ("" if default is None else f": `{default}`")
    if action.required and action.option_strings:
        return "required"
    if action.default is None or action.default is False or action.default in (argparse.SUPPRESS, []):
        return ""
    return f"`{action.default:g}`" if isinstance(action.default, float) else f"`{action.default}`"


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
