"""Runs what a page of the documents shows: every fenced block, in order, as a reader would.

    python tools/snippets.py docs/series/2-audio.md ...      # one page or several; --check: look, and run nothing

What the words behind ``` mean:

    ```python                  run; all of a page in one namespace and one process; `await` may stand outside functions
    ```python file=model.py    (any language) written to that file, not run; later blocks import or serve it
    ```sh                      run by bash, line by line. `voxgate serve` goes to the background, is awaited until it is
                               ready, and ends with the page or at the next `voxgate serve`
    ```text output             what the block before it must print; `...` stands for anything. What a server prints
                               counts only where nothing else does
    ```json, toml, yaml        parsed (JSON: each line a message, or the whole)
    ```text                    a picture or a trace in words: nothing is checked
    ... no-run="reason"        with python and sh: the syntax is checked, and that `make` has such a target; with any
                               other language: an excerpt

Everything happens in a fresh temporary folder. Port 8080 means a free port, in the whole page; `voxgate` is that of
this tree. The first mistake ends the page with exit code 1, and says where it is; whatever was started is ended.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
PORT = 8080
READY_S = 60  # until a server is ready; a model may have to be compiled first
END_S = 3  # between the signals that end a server: the second one ends it at once
DATA = ("json", "toml", "yaml")

# The `voxgate` of a page: that of this tree, which takes the page's port for the usual one.
COMMAND = """#!{python}
import sys
from voxgate.cli import main
arguments = sys.argv[1:]
if arguments[:1] in (["client"], ["load"]) and not any(a.split("=")[0] in ("--addr", "--help") for a in arguments):
    arguments += ["--addr", "ws://localhost:{port}"]
sys.exit(main(arguments))
"""


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
    is_known = block.language in ("python", "sh", "text", *DATA)
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
        targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        for line, command in commands(block):
            words = re.match(r"\s*make\s+([a-z-]+)\b", command)
            if words and words[1] not in targets:
                raise Mistake(line, f"the Makefile has no target {words[1]}")


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


ASSIGNMENT = r"""\w+=(?:"[^"]*"|'[^']*'|[^\s"'])*\s+"""
SERVE = re.compile(rf"\s*(?:{ASSIGNMENT})*voxgate\s+serve\b(?!.*\s--(?:print-config|help)\b)", re.DOTALL)


def matches(expected: str, got: str) -> bool:
    """`...` stands for anything, on a line of its own also for no line or several; spaces at the ends do not count."""
    pattern = ""
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(re.escape(part) for part in line.rstrip().split("...")) + r"\n"
    text = "".join(line.rstrip() + "\n" for line in got.strip("\n").splitlines())
    return re.fullmatch(pattern, text) is not None


class Page:
    """One page while it runs: its folder, its port, its namespace and its server."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.work, self.own = folder / "page", folder / "own"
        self.work.mkdir()
        self.own.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = self.own / "voxgate"
        command.write_text(COMMAND.format(python=sys.executable, port=self.port))
        command.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("VOXGATE_", "OTEL_"))}
        self.environ = kept | {
            "PATH": os.pathsep.join([str(self.own), str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",  # a file that is written anew in the same second is another one
            "PYTHONUNBUFFERED": "1",
            "VOXGATE_SERVER_PORT": str(self.port),
            "NO_COLOR": "1",
            "TERM": "dumb",
            "COLUMNS": "120",
        }
        self.module = types.ModuleType("__main__")
        self.runner: asyncio.Runner | None = None
        self.server: tuple[subprocess.Popen[bytes], Path, int] | None = None
        self.line = 1

    def run(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        check(text)
        os.environ.clear()
        os.environ.update(self.environ)
        os.chdir(self.work)
        sys.path[:] = [str(self.work), str(ROOT / "src"), *sys.path[1:]]
        sys.dont_write_bytecode = True
        sys.modules["__main__"] = self.module
        printed = ""
        try:
            for block in check(text.replace(str(PORT), str(self.port))):
                self.line = block.line
                if block.is_output:
                    self.compare(block, printed)
                elif block.file:
                    self.write(block)
                elif runs(block):
                    printed = self.run_python(block) if block.language == "python" else self.run_sh(block)
        finally:
            if self.runner is not None:
                self.runner.close()
            self.end_server()

    def write(self, block: Block) -> None:
        file = self.work / str(block.file)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        sys.modules.pop(file.stem, None)

    def compare(self, block: Block, printed: str) -> None:
        if not matches(block.text, printed):
            expected, got = (self.told(text.strip("\n")) or "(nothing)" for text in (block.text, printed))
            raise Mistake(block.line, f"expected as output:\n{expected}\n\ngot:\n{got}")

    def told(self, text: str) -> str:
        """With the port that the page names."""
        return text.replace(str(self.port), str(PORT))

    # Python

    def run_python(self, block: Block) -> str:
        if self.runner is None:
            self.runner = asyncio.Runner()
        if "voxgate.client" in block.text:
            self.redirect()
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                warnings.simplefilter("error")
                code = compiled(block, str(self.path))
                if code.co_flags & inspect.CO_COROUTINE:
                    self.runner.run(eval(code, self.module.__dict__))
                else:
                    exec(code, self.module.__dict__)
        except (Mistake, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise Mistake(self.line_of(error, block), self.stack(error, printed.getvalue())) from None
        return printed.getvalue()

    def redirect(self) -> None:
        """The client's usual address is the page's port."""
        from voxgate.client import DEFAULT_ADDR, session

        address = DEFAULT_ADDR.replace(str(PORT), str(self.port))
        values = session.Stream.__init__.__defaults__ or ()
        session.Stream.__init__.__defaults__ = tuple(address if value == DEFAULT_ADDR else value for value in values)

    def line_of(self, error: BaseException, block: Block) -> int:
        lines = [
            place.lineno for place in traceback.extract_tb(error.__traceback__) if place.filename == str(self.path)
        ]
        return (lines[-1] if lines else None) or block.line

    def stack(self, error: BaseException, printed: str) -> str:
        places = traceback.extract_tb(error.__traceback__)
        begins = next((n for n, place in enumerate(places) if place.filename == str(self.path)), 0)
        stack = "".join(traceback.format_list(places[begins:]) + traceback.format_exception_only(error))
        return "python failed\n" + (f"{printed}\n" if printed else "") + self.told(stack.rstrip())

    # Shell

    def run_sh(self, block: Block) -> str:
        printed, waiting, said = "", "", ""
        begins = block.first
        for line, command in commands(block):
            if SERVE.match(command):
                printed += self.run_bash(begins, waiting)
                said = self.start_server(line, command)
                waiting = ""
            else:
                if not waiting:
                    begins = line
                waiting += command
        printed += self.run_bash(begins, waiting)
        return printed or said  # a server among other commands is one in another terminal

    def script(self, line: int, text: str) -> str:
        """`text` at its line of the page, with what a terminal would still know: exported variables, the directory."""
        kept = shlex.quote(str(self.own / "state"))
        at = shlex.quote(str(self.own / "line"))
        head = (
            f"set -euo pipefail; if [ -e {kept} ]; then source {kept}; fi; "
            f"trap 'echo $LINENO > {at}' ERR; trap '{{ export -p; echo cd \"$(printf %q \"$PWD\")\"; }} > {kept}' EXIT"
        )
        return head + "\n" * (line - 1) + text

    def run_bash(self, line: int, text: str) -> str:
        if not text.strip():
            return ""
        self.line = line
        done = subprocess.run(
            ["bash", "-c", self.script(line, text)],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed = done.stdout.decode(errors="replace")
        if done.returncode:
            failed = self.own / "line"
            number = int(failed.read_text()) if failed.exists() else line
            raise Mistake(number, f"the command failed with {done.returncode}\n{self.told(printed)}{self.server_log()}")
        return printed

    def start_server(self, line: int, command: str) -> str:
        """Returns what it said until it was ready."""
        self.end_server()
        self.line = line
        log = self.own / "server.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", self.script(line, command.rstrip().removesuffix("&"))],
                env=self.environ | {"VOXGATE_SERVER_LOG_FORMAT": "human"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.server = (process, log, line)
        patience = time.monotonic() + READY_S
        while "voxgate listening on" not in log.read_text(errors="replace"):
            if process.poll() is not None:
                raise Mistake(line, f"the server ended with {process.returncode}{self.server_log()}")
            if time.monotonic() > patience:
                raise Mistake(line, f"the server is not ready after {READY_S} s{self.server_log()}")
            time.sleep(0.02)
        return log.read_text(errors="replace")

    def server_log(self) -> str:
        if self.server is None:
            return ""
        lines = self.server[1].read_text(errors="replace").splitlines()[-20:]
        return self.told("\n".join(["\nthe server's last lines:", *lines]))

    def end_server(self) -> None:
        if self.server is None:
            return
        process, _, line = self.server
        ended = process.poll()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
                break
        log, self.server = self.server_log(), None
        if ended is not None and sys.exc_info()[0] is None:
            raise Mistake(line, f"the server ended with {ended} before the page did{log}")


def run_page(path: Path, limit_s: int) -> None:
    """Mistake when something on the page is not so."""
    folder = Path(tempfile.mkdtemp(prefix="voxgate-page-"))
    page = None

    def too_long(*_: Any) -> NoReturn:
        raise Mistake(page.line if page else 1, f"the page takes more than {limit_s} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(limit_s)
    try:
        page = Page(path, folder)
        page.run()
    finally:
        signal.alarm(0)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", metavar="PAGE", type=Path)
    parser.add_argument("--check", action="store_true", help="look at the fences, and run nothing")
    parser.add_argument("--limit", type=int, default=120, metavar="SECONDS", help="for a page (%(default)s)")
    args = parser.parse_args()
    code = 0
    for path in args.pages:
        try:
            if args.check:
                check(path.read_text(encoding="utf-8"))
            elif len(args.pages) > 1:  # a process for each: what one imports is not there for the next
                command = [sys.executable, __file__, "--limit", str(args.limit), str(path)]
                code = max(code, subprocess.run(command).returncode)
            else:
                run_page(path.resolve(), args.limit)
        except Mistake as mistake:
            print(f"{path}:{mistake.line}: {mistake.text}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
