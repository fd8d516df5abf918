from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAILS_ONCE = """
import os, pathlib

def test_once():
    try:
        pathlib.Path("ran").touch(exist_ok=False)
    except FileExistsError:
        return
    {failure}
"""


@pytest.mark.parametrize(
    ("failure", "code"),
    [("assert False", pytest.ExitCode.TESTS_FAILED), ("os._exit(9)", pytest.ExitCode.INTERNAL_ERROR)],
)
def test_a_crash_is_no_failure_that_make_test_tries_again(tmp_path: Path, failure: str, code: int) -> None:
    (tmp_path / "test_one.py").write_text(FAILS_ONCE.format(failure=failure))
    (tmp_path / "pytest.ini").touch()
    # As in `make test`; its second run needs this code to be 1.
    options = ["-p", "xdist", "-p", "helpers.crashed_workers", "-n", "1", "--dist", "loadfile"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=tmp_path, env=environment, check=False)
    assert run.returncode == code
