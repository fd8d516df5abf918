"""The inside of a guarded process: it ends with its parent. test_guarded has the rest."""

from __future__ import annotations

import subprocess
import sys


def test_it_ends_at_once_without_its_parent() -> None:
    start = "from helpers.guarded_echo import main; main(0, 0, 1 << 30, {})"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", start], stdin=subprocess.DEVNULL, timeout=60, check=False, env=environment
    )
    assert ended.returncode == 1
