"""The comparison of benchmarks with the baseline: it goes by ratios, and says what fell."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATH = ROOT / "tools" / "bench_ratios.py"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("bench_ratios", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(tmp_path: Path, times_s: dict[str, float], group: str = "ring") -> str:
    path = tmp_path / "bench.json"
    path.write_text(
        json.dumps(
            {
                "machine_info": {"cpu": {"brand_raw": "a CPU"}, "machine": "x", "python_version": "3.11"},
                "commit_info": {"id": "abcdef0123456789"},
                "benchmarks": [
                    {"group": group, "name": f"test_{name}", "stats": {"min": value}} for name, value in times_s.items()
                ],
            }
        )
    )
    return str(path)


def test_the_baseline_is_kept_and_met(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times, baseline = report(tmp_path, {"voxgate": 1e-6, "numpy": 4e-6}), str(tmp_path / "baseline.json")
    assert tool.main([times, "--baseline", baseline]) == 0
    assert "Nothing to compare with" in capsys.readouterr().out
    assert tool.main([times, "--baseline", baseline, "--write-baseline"]) == 0
    assert json.loads(Path(baseline).read_text())["ratios"] == {"ring | voxgate | numpy": 4.0}
    # Half as fast a machine: the ratio is what it was.
    assert tool.main([report(tmp_path, {"voxgate": 2e-6, "numpy": 8e-6}), "--baseline", baseline]) == 0
    out = capsys.readouterr().out
    assert "| ring | voxgate | 2 us | numpy | 8 us | **4.0x** |" in out
    assert "no ratio fell by more than 25%" in out


@pytest.mark.parametrize(("ours_s", "code"), [(1.3e-6, 0), (1.4e-6, 1)])
def test_what_fell_by_more_than_the_tolerance_is_named(
    tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], ours_s: float, code: int
) -> None:
    baseline = str(tmp_path / "baseline.json")
    tool.main([report(tmp_path, {"voxgate": 1e-6, "numpy": 4e-6}), "--baseline", baseline, "--write-baseline"])
    assert tool.main([report(tmp_path, {"voxgate": ours_s, "numpy": 4e-6}), "--baseline", baseline]) == code
    assert ("ring | voxgate | numpy: 4.00x -> 2.86x (-29%)" in capsys.readouterr().out) is bool(code)


def test_what_is_new_or_gone_is_told_and_no_failure(
    tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = str(tmp_path / "baseline.json")
    tool.main([report(tmp_path, {"voxgate": 1e-6, "numpy": 4e-6}), "--baseline", baseline, "--write-baseline"])
    assert tool.main([report(tmp_path, {"voxgate": 1e-6, "numpy": 4e-6}, group="bell"), "--baseline", baseline]) == 0
    out = capsys.readouterr().out
    assert "bell | voxgate | numpy: not in the baseline" in out
    assert "ring | voxgate | numpy: not measured now" in out


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ("", ["bench"]),
        ("-k silero", ["bench"]),
        ("bench/test_bench_pcm.py bench/test_bench_ring.py", ["bench/test_bench_pcm.py", "bench/test_bench_ring.py"]),
    ],
)
def test_make_bench_runs_the_files_that_it_is_given_or_all(arguments: str, paths: list[str]) -> None:
    command = ["make", "--dry-run", "--directory", str(ROOT), "bench", f"ARGS={arguments}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in printed.splitlines() if "--benchmark-json" in line)
    assert [word for word in line.split() if word == "bench" or word.startswith("bench/")] == paths
