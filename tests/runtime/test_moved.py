"""Public modules that have moved: the old names work, and warn."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from voxgate.runtime import moved

VERSIONS = (Path(__file__).parents[2] / "docs" / "versions.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def not_imported(monkeypatch):
    """As in a process that has imported none of the old names."""
    for name in moved.MOVED:
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]


@pytest.mark.parametrize(("old", "new"), moved.MOVED.items())
def test_an_old_name_is_the_new_module_and_warns(old, new):
    with pytest.warns(DeprecationWarning, match=f"^{old} has moved: import {new}$"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(new)


@pytest.mark.parametrize(("old", "new"), moved.MOVED.items())
def test_an_old_name_is_on_the_page_about_versions(old, new):
    assert f"| `{old}` | `{new}` |" in VERSIONS


def test_a_warning_names_the_line_that_imports():
    code = "import voxgate.speech\nassert voxgate.speech.names()"
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "DeprecationWarning: voxgate.speech has moved: import voxgate.recordings" in done.stderr
    code = "from voxgate.speech import names\nassert 'demo' in names()"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "<string>:1: DeprecationWarning" in done.stderr


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"voxgate\.speeches"):
        importlib.import_module("voxgate.speeches")


def test_installing_twice_changes_nothing():
    before = list(sys.meta_path)
    moved.install()
    assert sys.meta_path == before
