"""The fenced blocks of a page: what they are, what to do with them, and what can be said without running them.

`tools/snippets.py` says what the words behind the fence mean, and runs them.
"""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import json
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))  # whose command line is asked what it takes
DATA = ("json", "toml", "yaml")
DIRECTIVES = "{eval-rst}"  # what only Sphinx can do, such as autodoc: `make docs` checks it


class Mistake(Exception):
    """What is wrong, and in which line of the page."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(line, text)
        self.line, self.text = line, text


@dataclass
class Block:
    """A fence of a page."""

    line: int  # of the fence; its text begins on the next
    language: str
    text: str
    file: str | None
    no_run: str | None
    is_output: bool

    @property
    def first(self) -> int:
        return self.line + 1


def blocks(page: str) -> Iterator[Block]:
    """The fences of a page, in order. Mistake for one that cannot be understood."""
    from markdown_it import MarkdownIt

    for token in MarkdownIt("commonmark").enable("table").parse(page):
        line = (token.map or [0])[0] + 1
        if token.type == "code_block":
            raise Mistake(line, "indented code: write it as a fence with a language")
        if token.type == "fence":
            yield block_of(line, token.info.strip(), token.content)


def block_of(line: int, info: str, text: str) -> Block:
    try:
        words = shlex.split(info)
    except ValueError as error:
        raise Mistake(line, f"cannot be read: ```{info} ({error})") from None
    if not words or "=" in words[0]:
        raise Mistake(line, "a fence without a language: say what it is, if nothing else then text")
    options: dict[str, str] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if (key, equals) != ("output", "") and (key not in ("file", "no-run") or not equals):
            raise Mistake(line, f'expected output, file=NAME or no-run="REASON" after the language, got {word!r}')
        if equals and not value.strip():
            raise Mistake(line, f"{key} without a {'name' if key == 'file' else 'reason'}")
        if key in options:
            raise Mistake(line, f"{key} twice")
        options[key] = value
    if len(options) > 1:
        raise Mistake(line, f"{' and '.join(options)} do not go together")
    block = Block(line, words[0], text, options.get("file"), options.get("no-run"), "output" in options)
    is_known = block.language in ("python", "sh", "text", DIRECTIVES, *DATA)
    if not (is_known or block.file or block.no_run or block.is_output):
        raise Mistake(line, f'{block.language}: nobody runs or checks it; give it file=NAME or no-run="REASON"')
    return block


def check(page: str) -> list[Block]:
    """The fences of a page, once all that can be said without running them is said."""
    found = list(blocks(page))
    before: Block | None = None
    for block in found:
        if block.is_output and (before is None or before.is_output or not runs(before)):
            raise Mistake(block.line, "output of what? No block that runs stands before it")
        if block.file and (Path(block.file).is_absolute() or ".." in Path(block.file).parts):
            raise Mistake(block.line, f"file={block.file}: it must be in the page's own folder")
        if not block.is_output:
            CHECKS.get(block.language, lambda _: None)(block)
        before = block
    return found


def runs(block: Block) -> bool:
    return block.language in ("python", "sh") and not (block.file or block.no_run or block.is_output)


def check_python(block: Block) -> None:
    try:
        compiled(block, "page")
    except SyntaxError as error:
        raise Mistake(error.lineno or block.line, f"python: {error.msg}") from None


def check_sh(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input="\n" * block.line + block.text, capture_output=True, text=True)
    if done.returncode or done.stderr:
        place = re.search(r"line (\d+): (.*)", done.stderr)
        raise Mistake(int(place[1]) if place else block.line, f"sh: {place[2] if place else done.stderr.strip()}")
    if block.no_run:
        for line, command in commands(block):
            check_command(line, command)


def check_command(line: int, command: str) -> None:
    """What can be said of a command that is not run: the Makefile has such a target, voxgate takes such arguments."""
    words = first_command(command)
    if words[:1] == ["make"]:
        targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        for word in words[1:]:
            if "=" not in word and not word.startswith("-") and word not in targets:
                raise Mistake(line, f"the Makefile has no target {word}")
    if words[:1] == ["voxgate"]:
        from voxgate.cli import make_parser

        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                make_parser().parse_args(words[1:])
        except SystemExit as end:
            if end.code:
                raise Mistake(line, said.getvalue().splitlines()[-1]) from None


def first_command(command: str) -> list[str]:
    """The words of the first command of a line, without assignments before it, up to a pipe, a comment or the like."""
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), lexer))
    return list(itertools.dropwhile(lambda word: re.match(r"\w+=", word), words))


def check_json(block: Block) -> None:
    try:
        json.loads(block.text)
        return
    except ValueError as error:
        whole = error
    for number, line in enumerate(block.text.splitlines(), block.first):
        if line.strip():
            try:
                json.loads(line)
            except ValueError as error:
                one_a_line = number > block.first
                raise Mistake(number, f"json: {error if one_a_line else whole}") from None


def check_toml(block: Block) -> None:
    try:
        tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(block.line, f"toml: {error}") from None


def check_yaml(block: Block) -> None:
    import yaml

    try:
        list(yaml.safe_load_all(block.text))
    except yaml.YAMLError as error:
        raise Mistake(block.line, f"yaml: {error}") from None


CHECKS: dict[str, Callable[[Block], None]] = {
    "python": check_python,
    "sh": check_sh,
    "json": check_json,
    "toml": check_toml,
    "yaml": check_yaml,
}


def compiled(block: Block, name: str) -> types.CodeType:
    """As if it stood in the page itself: a stack names the page's lines."""
    return compile("\n" * block.line + block.text, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def commands(block: Block) -> Iterator[tuple[int, str]]:
    """The commands of a shell block, each with its line: lines, but for those that bash would read on after."""
    begun, waiting = block.first, ""
    for number, line in enumerate(block.text.splitlines(), block.first):
        if not waiting:
            begun = number
        waiting += line + "\n"
        if line.endswith("\\"):
            continue
        done = subprocess.run(["bash", "-n"], input=waiting, capture_output=True, text=True)
        if done.returncode == 0 and not done.stderr:
            yield begun, waiting
            waiting = ""
    if waiting:
        yield begun, waiting
