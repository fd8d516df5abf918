from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from voxgate.models import compiling


def test_compiled_code_is_kept_where_numba_cache_dir_says(tmp_path: pathlib.Path) -> None:
    code = "import voxgate.models.features as f; print(sum(f._power.stats.cache_hits.values()))"
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    hits = [
        subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc"))
    assert hits == ["0", "1"]


def test_without_a_place_for_compiled_code_it_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []
    njit = compiling.numba.njit

    def nowhere(signature: str, cache: bool = False, **options: Any) -> Any:
        if signature == "float64(float64)":  # and not one of Numba's own
            asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function '_power': no locator available for file '/x.py'")
        return njit(signature, **options)

    monkeypatch.setattr(compiling.numba, "njit", nowhere)
    compiling._warned.clear()
    double = compiling.compiled("float64(float64)")(lambda x: 2 * x)
    compiling.compiled("float64(float64)")(lambda x: 3 * x)
    assert double(4.0) == 8.0
    assert asked == [True, False] * 2
    assert [record.getMessage() for record in caplog.records if "NUMBA_CACHE_DIR" in record.getMessage()] == [
        "cannot keep compiled code (RuntimeError: cannot cache function '_power': no locator available for file"
        " '/x.py'): compiling at each start; NUMBA_CACHE_DIR may name another place"
    ]


FEATURES = """
import numpy as np
from voxgate.models import load_model
print(load_model("features").infer(np.zeros(16_000, np.float32))["level_dbfs"])
"""


def features_answer(cache: pathlib.Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """What a process of its own says that keeps compiled code in `cache`."""
    environ = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", before + FEATURES]
    return subprocess.run(command, env=environ, check=False, capture_output=True, text=True)


FULL = """
import errno, builtins
there = builtins.open
def full(file, mode="r", *args, **kwargs):
    if "w" in mode and ".nb" in str(file):
        raise OSError(errno.ENOSPC, "No space left on device", str(file))
    return there(file, mode, *args, **kwargs)
builtins.open = full
"""


def test_a_full_disk_keeps_no_model_from_starting(tmp_path: pathlib.Path) -> None:
    right = features_answer(tmp_path / "good")
    assert (right.returncode, right.stderr) == (0, "")
    full = features_answer(tmp_path / "full", FULL)
    assert full.stdout == right.stdout
    assert full.stderr.count("compiling at each start") == full.stderr.count("\n") == 1
    assert "[Errno 28] No space left on device" in full.stderr


def test_a_cache_that_was_cut_short_keeps_no_model_from_starting(tmp_path: pathlib.Path) -> None:
    right = features_answer(tmp_path)
    for kept in tmp_path.rglob("*.nb[ic]"):
        kept.write_bytes(kept.read_bytes()[:40])
    cut = features_answer(tmp_path)
    assert cut.stdout == right.stdout
    assert cut.stderr.count("compiling at each start") == cut.stderr.count("\n") == 1


def test_another_trouble_of_the_compiler_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(signature: str, **options: Any) -> Any:
        raise RuntimeError("something else")

    monkeypatch.setattr(compiling.numba, "njit", broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiling.compiled("float64(float64)")(lambda x: x)
