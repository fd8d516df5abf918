"""A short run of every target, on the ordinary build, with the same inputs every time: `make fuzz` is the long one."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fuzz.targets import NAMES, load

RUNS = 60
LONGEST = 400  # bytes of an input


def inputs(target: ModuleType, seed: int = 1) -> list[bytes]:
    """The target's own, and changes of them: some bytes different, some missing, another's end."""
    rng = random.Random(seed)
    chosen = [b"", *target.SEEDS]
    for _ in range(RUNS):
        data = bytearray(rng.choice(target.SEEDS) if rng.random() < 0.7 else rng.randbytes(rng.randrange(LONGEST)))
        for _ in range(rng.randrange(8)):
            place = rng.randrange(len(data) + 1)
            data[place : place + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        chosen.append(bytes(data))
    return chosen


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run(name):
    target = load(name)
    for data in inputs(target):
        try:
            target.fuzz(data)
        except Exception as error:
            error.add_note(f"target {name}, input {data!r}")
            raise


def test_the_fuzzer_finds_a_mistake(tmp_path):
    """The driver, coverage of Python included: a byte that only a look at the branches leads to."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: the extra 'fuzz' has it, for the Pythons it is built for")
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "voxgate_mistake.py").write_text(
        "def parse(data):\n  if data[:1] == b'v':\n    if data[1:2] == b'o':\n      raise ValueError(data)\n"
    )
    (tmp_path / "fuzz" / "fuzz_mistake.py").write_text("from voxgate_mistake import parse as fuzz\nSEEDS = []\n")
    for name in ("run.py", "targets.py"):
        (tmp_path / "fuzz" / name).write_text(
            (Path(__file__).parent / name).read_text().replace('include=["voxgate"]', 'include=["voxgate_mistake"]')
        )
    run = subprocess.run(
        [sys.executable, "fuzz/run.py", "mistake", "-runs=200000", "-seed=1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "ValueError: b'vo" in run.stdout + run.stderr
    (found,) = tmp_path.glob("crash-*")
    assert found.read_bytes().startswith(b"vo")
