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
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function '_power': no locator available for file '/x.py'")
        return njit(signature, **options)

    monkeypatch.setattr(compiling.numba, "njit", nowhere)
    compiling._say_no_place.cache_clear()
    double = compiling.compiled("float64(float64)")(lambda x: 2 * x)
    compiling.compiled("float64(float64)")(lambda x: 3 * x)
    assert double(4.0) == 8.0
    assert asked == [True, False] * 2
    assert [record.getMessage() for record in caplog.records if "NUMBA_CACHE_DIR" in record.getMessage()] == [
        "no place to keep compiled code: compiling at each start; NUMBA_CACHE_DIR may name one"
    ]


def test_another_trouble_of_the_compiler_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(signature: str, **options: Any) -> Any:
        raise RuntimeError("something else")

    monkeypatch.setattr(compiling.numba, "njit", broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiling.compiled("float64(float64)")(lambda x: x)
