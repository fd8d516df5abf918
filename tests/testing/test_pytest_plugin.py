"""The fixture of `voxgate.testing`, in a project of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = 'pytest_plugins = ["voxgate.testing.pytest_plugin"]\n'
TEST = """
import threading
import numpy as np
from voxgate.errors import ModelLoadError
import pytest

def count(audio):
    return {"count": len(audio)}

def test_two_servers(model_server):
    one, other = model_server(count), model_server(count, {"model.name": "x"}, timeout_s=30)
    for server in (one, other):
        events = server.collect((np.zeros(160, np.float32), 16_000), route="simple")
        assert sum(event.output["count"] for event in events) == 160

def test_nothing_is_left(model_server):
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("voxgate")] == []
    with pytest.raises(ModelLoadError):
        model_server("nothing")
"""


def run(folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout


@pytest.mark.parametrize("asked", [True, False])
def test_the_fixture_is_there_for_those_who_ask(tmp_path: Path, asked: bool) -> None:
    """Not for others: an installed Voxgate changes no test run that does not name it."""
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "conftest.py").write_text(CONFTEST * asked)
    code, output = run(tmp_path)
    if asked:
        assert code == 0, output
        assert "2 passed" in output
    else:
        assert code == 1
        assert "fixture 'model_server' not found" in output
