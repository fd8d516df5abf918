"""Runs what a page of the documents shows: every fenced block, in order, as a reader would.

    python tools/snippets.py docs/series/2-audio.md ...      # one page or several; --check: look, and run nothing

What the words behind ``` mean:

    ```python                  run; all of a page in one namespace and one process; `await` may stand outside functions
    ```python file=model.py    (any language) written to that file, not run; later blocks import or serve it
    ```sh                      run by bash, line by line. `voxgate serve` goes to the background, is awaited until it is
                               ready, and ends with the page or at the next `voxgate serve`; one with
                               `|| ...` behind it is to fail, and is awaited like any command
    ```text output             what the block before it must print; `...` stands for anything. What a server prints
                               counts only where nothing else does
    ```json, toml, yaml        parsed (JSON: each line a message, or the whole)
    ```text                    a picture or a trace in words: nothing is checked
    ```{eval-rst}              a directive of Sphinx's: `make docs` checks it
    ... no-run="reason"        with python and sh: the syntax is checked, and that make and voxgate take such arguments;
                               with any other language: an excerpt. Markdown allows no backtick in a reason

Everything happens in a fresh temporary folder. Port 8080 means a free port, in the whole page; `voxgate` is that of
this tree. The first mistake ends the page with exit code 1, and says where it is; whatever was started is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import io
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

from fences import Block, Mistake, check, commands, compiled, runs

ROOT = Path(__file__).parents[1]
PORT = 8080
READY_S = 60  # until a server is ready; a model may have to be compiled first
END_S = 3  # between the signals that end a server: the second one ends it at once

# The `voxgate` of a page: that of this tree, which takes the page's port for the usual one.
COMMAND = """#!{python}
import sys
from voxgate.cli import main
arguments = sys.argv[1:]
if arguments[:1] in (["client"], ["load"]) and not any(a.split("=")[0] in ("--addr", "--help") for a in arguments):
    arguments += ["--addr", "ws://localhost:{port}"]
sys.exit(main(arguments))
"""


ASSIGNMENT = r"""\w+=(?:"[^"]*"|'[^']*'|[^\s"'])*\s+"""
SERVE = re.compile(rf"(\s*(?:{ASSIGNMENT})*)(voxgate\s+serve\b(?!.*(?:\s--(?:print-config|help)\b|\|\|)).*)", re.DOTALL)


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


def free_port() -> int:
    """One that is still free when a server of the page takes it: no kernel gives it to an outgoing connection."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise SystemExit("no free port among a hundred between 20000 and 32000")


class Page:
    """One page while it runs: its folder, its port, its namespace and its server."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.work, self.own = folder / "page", folder / "own"
        self.work.mkdir()
        self.own.mkdir()
        self.port = free_port()
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

    def bash(self, line: int, text: str, output: Any, **environ: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", self.script(line, text)],
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run_bash(self, line: int, text: str) -> str:
        if not text.strip():
            return ""
        self.line = line
        process = self.bash(line, text, subprocess.PIPE)
        try:
            printed = process.communicate()[0].decode(errors="replace")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.returncode:
            failed = self.own / "line"
            told = re.search(r"^bash: line (\d+): ", printed, re.MULTILINE)  # an unset variable is not in the trap
            number = int(failed.read_text()) if failed.exists() else int(told[1]) if told else line
            raise Mistake(
                number, f"the command failed with {process.returncode}\n{self.told(printed)}{self.server_log()}"
            )
        return printed

    def start_server(self, line: int, command: str) -> str:
        """Returns what it said until it was ready."""
        self.end_server()
        self.line = line
        log = self.own / "server.log"
        with open(log, "wb") as file:
            replaced = SERVE.sub(r"\1exec \2", command.rstrip().removesuffix("&"))
            process = self.bash(line, replaced, file, VOXGATE_SERVER_LOG_FORMAT="human")
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
