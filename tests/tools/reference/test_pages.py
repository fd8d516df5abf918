"""`make reference`: the committed files are those that the code makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.reference.pages import pages, write

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", list(pages()))
def test_the_committed_file_is_current(name):
    committed = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert committed == pages()[name], "run: make reference"


def test_everything_is_written_below_a_directory(tmp_path):
    write(tmp_path)
    written = {
        path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert written == pages()


def test_the_command_writes_to_the_directory_that_it_is_given(tmp_path):
    command = [sys.executable, "-m", "tools.reference", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert (tmp_path / "limits.md").read_text() == pages()["limits.md"]


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--hlep"], 2), (["a", "b"], 2)])
def test_an_option_is_no_directory(tmp_path, arguments, code):
    command = [sys.executable, "-m", "tools.reference", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == code
    assert (done.stdout if code == 0 else done.stderr).startswith("usage: ")
    assert not list(tmp_path.iterdir())
