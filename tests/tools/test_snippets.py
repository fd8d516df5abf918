"""The runner of the documents' snippets: what is right passes, and every kind of mistake is told with its line."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "snippets.py"

Run = Callable[..., str]


@pytest.fixture
def snippets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOL.parent))
    return importlib.import_module("snippets")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run(page, options)``: "" when everything is right, else what is said, without the name of the page."""

    def run(page: str, *options: str) -> str:
        path, scratch = tmp_path / "page.md", tmp_path / "scratch"
        path.write_text(textwrap.dedent(page).lstrip("\n"))
        scratch.mkdir(exist_ok=True)
        environ = {**os.environ, "TMPDIR": str(scratch), "VOXGATE_LIMITS_STREAMS": "no number"}
        command = [sys.executable, str(TOOL), *options, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environ)
        assert list(scratch.iterdir()) == [], "the page's folder is left behind"
        assert (done.returncode == 0) == (done.stderr == ""), done.stderr
        assert done.returncode in (0, 1)
        return done.stderr.replace(f"{path}:", "").strip()

    return run


def test_python_blocks_share_a_namespace_and_a_loop_and_may_await(run: Run) -> None:
    page = """
    ```python
    import asyncio
    from dataclasses import dataclass

    @dataclass
    class Point:
        x: int

    event = asyncio.Event()
    asyncio.get_event_loop_policy()
    await asyncio.sleep(0)
    ```

    ```python
    event.set()
    await event.wait()
    print(Point(3), __name__)
    ```

    ```text output
    Point(x=3) __main__
    ```
    """
    assert run(page) == ""


def test_files_are_written_and_imported_and_a_new_one_of_a_name_replaces_the_old(run: Run) -> None:
    page = """
    ```python file=mine/model.py
    value = 1
    ```

    ```python
    import os
    from mine.model import value
    print(value, sorted(os.listdir()))
    ```

    ```text output
    1 ['mine']
    ```

    ```toml file=voxgate.toml
    a = 1
    ```

    ```sh
    cat voxgate.toml
    ```

    ```toml output
    a = 1
    ```
    """
    assert run(page) == ""


def test_shell_blocks_keep_variables_and_directory(run: Run) -> None:
    page = """
    ```sh
    export NAME=value; mkdir -p "a b"
    cd "a b"
    cat <<END |
    one
    two
    END
      wc -l
    ```

    ```text output
    2
    ```

    ```sh
    echo $NAME \\
      ${PWD##*/}
    ```

    ```text output
    value a b
    ```
    """
    assert run(page) == ""


def test_a_server_is_started_and_found_and_replaced(run: Run) -> None:
    page = """
    ```python file=mymodel.py
    def one(audio):
        return {"answer": 1}

    def two(audio):
        return {"answer": 2}
    ```

    ```sh
    voxgate serve --model mymodel:one --set vad.detector=energy   # http://127.0.0.1:8080
    python -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/api/v1/health').read().decode())"
    voxgate client -i demo --format jsonl
    ```

    ```text output
    {"status":"healthy"}
    ...
    {"type":"segment",..."answer":1,...}
    ...
    ```

    ```sh
    VOXGATE_SERVER_LOG_LEVEL="info" voxgate serve --model mymodel:two
    ```

    ```text output
    ...
    voxgate listening on http://127.0.0.1:...
    ...
    ```

    ```python
    import asyncio
    from pathlib import Path

    import voxgate
    from voxgate.client import stream

    async for event in stream(Path(voxgate.__file__).parent / "recordings" / "demo.flac"):
        if getattr(event, "is_final", False):
            print(event.output)
            break
    ```

    ```text output
    {'answer': 2}
    ```
    """
    assert run(page) == ""


def test_a_server_that_is_to_fail_is_awaited(run: Run) -> None:
    page = """
    ```sh
    voxgate serve --model mymodel:nothing || echo "exit code $?"
    ```

    ```text output
    ...
    voxgate: model 'mymodel:nothing': no module named 'mymodel', ...
    exit code 2
    ```
    """
    assert run(page) == ""


def test_nothing_of_the_page_lives_on(run: Run, tmp_path: Path) -> None:
    page = f"""
    ```python file=mymodel.py
    import os
    from pathlib import Path

    Path("{tmp_path}/server").write_text(str(os.getpid()))

    def model(audio):
        return {{}}
    ```

    ```sh
    A="b c" voxgate serve --model mymodel:model
    false
    ```
    """
    assert run(page).startswith("13: the command failed with 1")
    assert not Path(f"/proc/{(tmp_path / 'server').read_text()}").exists()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```python\nprint(1)\n```\n\n```text output\n2\n```", "5: expected as output:\n2\n\ngot:\n1"),
        ("```sh\ntrue\n```\n\n```text output\nx...\n```", "5: expected as output:\nx...\n\ngot:\n(nothing)"),
        ("```python\nx = 1\n\nprint(x / 0)\n```", "4: python failed\n"),
        ("```python\nimport sys\nsys.exit(0)\n```", "3: python failed\n"),
        ("```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```", "3: python failed\n"),
        ("text\n\n```sh\ntrue\ncat nothing | cat\n```", "5: the command failed with 1\ncat: nothing: No such file"),
        ("```sh\ntrue\n\necho $UNKNOWN_CLIENT\n```", "4: the command failed with 1\n"),
        ("```sh\nvoxgate serve --model nothing:here\n```", "2: the server ended with 2"),
        (
            "```sh\nvoxgate serve --set limits.streams=0\n```",
            "2: the server ended with 2\nthe server's last lines:\nvoxgate: --set limits.streams",
        ),
    ],
)
def test_what_does_not_do_as_it_says(run: Run, page: str, said: str) -> None:
    assert run(page).startswith(said)


def test_a_server_that_dies_is_told(run: Run) -> None:
    page = """
    ```python file=mymodel.py
    import os

    def end(audio):
        if abs(audio).max() > 0.01:  # and not when it is warmed up
            os._exit(7)
    ```

    ```sh
    voxgate serve --model mymodel:end
    voxgate client -i demo || true
    ```
    """
    assert run(page).startswith("10: the server ended with 7 before the page did")


def test_a_page_that_takes_too_long(run: Run, tmp_path: Path) -> None:
    # Nobody ever reads from the pipe, and the alarm is rung by the page itself: nobody has to wait for it.
    page = f"```sh\nmkfifo {tmp_path}/pipe\ncat {tmp_path}/pipe & echo $! > {tmp_path}/pid; kill -ALRM $PPID; wait\n```"
    assert run(page, "--limit", "300") == "2: the page takes more than 300 s"
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/exe").exists()


MISTAKES = [
    ("```\nx\n```", "1: a fence without a language"),
    ("``` file=x\nx\n```", "1: a fence without a language"),
    ("- item\n\n  ```\n  x\n  ```", "3: a fence without a language"),
    ("text\n\n    indented\n", "3: indented code"),
    ("```rust\nx\n```", "1: rust: nobody runs or checks it"),
    ("```{eval-rst}\n.. x::\n```\n\n```{note}\nx\n```", "5: {note}: nobody runs or checks it"),
    ("```python no-run\nx\n```", "1: expected output, file=NAME or no-run"),
    ('```python no-run=""\nx\n```', "1: no-run without a reason"),
    ("```python file=\nx\n```", "1: file without a name"),
    ("```python file=../x.py\nx\n```", "1: file=../x.py: it must be in"),
    ("```python file=/x.py\nx\n```", "1: file=/x.py: it must be in"),
    ("```python file=a.py output\nx\n```", "1: file and output do not go together"),
    ('```python "file\nx\n```', "1: cannot be read"),
    ("```text output\nx\n```", "1: output of what?"),
    ("```json\n{}\n```\n\n```text output\nx\n```", "5: output of what?"),
    ("```python\nx = (\n```", "2: python: '(' was never closed"),
    ("```python file=a.py\nx = 1\ny y\n```", "3: python: invalid syntax"),
    ('```python no-run="why"\nx x\n```', "2: python: invalid syntax"),
    ("```sh\ntrue\nif\n```", "4: sh: syntax error: unexpected end of file"),
    ('```sh no-run="why"\ntrue\nmake tea\n```', "3: the Makefile has no target tea"),
    ('```sh no-run="why"\nmake test ARGS=-x tea -j\n```', "2: the Makefile has no target tea"),
    (
        '```sh no-run="why"\ntrue\nA=b voxgate client -i x --nothing | cat\n```',
        "3: voxgate client: error: unrecognized arguments",
    ),
    ('```sh no-run="why"\nvoxgate \\\n  nothing  # x\n```', "2: voxgate: error: argument VERB: invalid choice"),
    ('```json\n{"a": }\n```', "2: json: Expecting value"),
    ('```json\n{"a": 1}\n{"b": 1\n```', "3: json: Expecting ',' delimiter"),
    ("```toml\na = \n```", "1: toml: Invalid value"),
    ("```yaml\na: [1\n```", "1: yaml: while parsing"),
]


@pytest.mark.parametrize(("page", "said"), MISTAKES)
def test_what_is_written_wrong(snippets: ModuleType, page: str, said: str) -> None:
    with pytest.raises(snippets.Mistake) as mistake:
        snippets.check(page)
    assert f"{mistake.value.line}: {mistake.value.text}".startswith(said)


def test_what_is_written_wrong_is_found_before_anything_is_run(run: Run, tmp_path: Path) -> None:
    page = f"```sh\ntouch {tmp_path}/ran\n```\n\n```\nx\n```"
    for option in ("--check", "--limit=9"):
        assert run(page, option).startswith("5: a fence without a language")
        assert not (tmp_path / "ran").exists()


def test_what_is_only_looked_at(run: Run) -> None:
    page = """
    ```sh no-run="needs a container engine"
    docker compose up
    make test ARGS='-k a -x' && false
    A="b c" voxgate serve --model x:y --port 80 > log   # --what
    voxgate --help; voxgate load -n 3 \\
      --addr wss://host
    ```

    ```python no-run="needs a microphone"
    async for event in listen():
        print(event)
    ```

    ```rust no-run="how the original does it"
    fn main() {}
    ```

    ```json
    {"a": 1}
    {"b": 2}
    ```

    ```json
    {"a": 1,
     "b": [2]}
    ```

    ```toml
    [a]
    b = 1
    ```

    ```yaml
    a: 1
    ---
    b: 2
    ```

    ```text
    anything
    ```
    """
    assert run(page) == ""
