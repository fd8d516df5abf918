"""`make reference`: the committed files are those that the code makes."""

from __future__ import annotations

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


def test_two_directories_are_an_error(tmp_path):
    done = subprocess.run([sys.executable, "-m", "tools.reference", "a", "b"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: ")
