"""The judgement of `make soak`, and what it fills beforehand so that only growth without an end is seen."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"

ROUNDS, STREAMS = 15, 50  # of a run of five minutes
ALLOWED_BYTES = 100.0


@pytest.fixture(scope="module")
def slopes() -> Any:
    spec = importlib.util.spec_from_file_location("slopes", BENCH / "slopes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("leak_bytes", "noise_bytes", "expected"),
    [
        (0, 3000, "even"),
        (200, 3000, "grows"),
        (0, 300_000, "open"),
        (-200, 3000, "even"),
        (ALLOWED_BYTES, 3000, "open"),
    ],
)
def test_a_leak_of_200_bytes_a_stream_is_told_from_none(
    slopes: Any, leak_bytes: float, noise_bytes: float, expected: str
):
    rng, served = np.random.default_rng(3), np.arange(1, ROUNDS + 1) * STREAMS
    verdicts = []
    for _ in range(40):
        held = 30e6 + leak_bytes * served + rng.normal(0, noise_bytes, ROUNDS)
        rise, half = slopes.slope(served.tolist(), held.tolist())
        verdicts.append(slopes.verdict(rise, half, ALLOWED_BYTES))
    share = verdicts.count(expected) / len(verdicts)
    assert share > 0.9 if expected != "open" else share > 0.3, verdicts


def test_the_slope_is_that_of_the_line(slopes: Any):
    rise, half = slopes.slope([1.0, 2.0, 5.0, 9.0, 10.0], [13.0, 16.0, 25.0, 37.0, 40.0])
    assert rise == pytest.approx(3.0)
    assert half == pytest.approx(0.0, abs=1e-9)


def in_a_process(code: str) -> list[int]:
    """The numbers that it prints. A process of its own: its allocations are nobody else's."""
    done = subprocess.run(
        [sys.executable, "-c", "from soak_models import *\nfrom soak_server import mallinfo2\n" + code],
        capture_output=True, text=True, check=True, cwd=BENCH,
    )  # fmt: skip
    return [int(line) for line in done.stdout.split()]


needs_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="malloc of this system does not say what is in use"
)


@needs_glibc
def test_full_caches_take_no_more():
    """So the growth of a server by them ends: 3.8 MiB for each thread. A NumPy that keeps more fails here."""
    before, full, again = in_a_process(
        """
def used(): print(mallinfo2().uordblks)
used()
fill_caches()
used()
for n_bytes in range(1, 1024):
    arrays = [np.empty(n_bytes, np.uint8) for _ in range(50)]
    del arrays
used()
"""
    )
    assert 3.0 * 2**20 < full - before < 4.5 * 2**20
    assert again - full < 10_000


@needs_glibc
@pytest.mark.parametrize("model", ["Features", "Pitch"])
def test_a_leaking_model_leaks_and_the_others_do_not(model: str):
    code = f"""
audio = np.full(1600, 0.1, np.float32)
for leak_bytes in (0, 200):
    model = {model}(leak_bytes=leak_bytes)
    def call():
        if model.stateful:
            state = model.open()
            model.step(audio, state)
            model.finish(state)
        else:
            model.infer(audio.copy())
    for _ in range(100):
        call()
    before = mallinfo2().uordblks
    for _ in range(1000):
        call()
    print((mallinfo2().uordblks - before) // 1000)
"""
    none, leak = in_a_process(code)
    assert none < 10
    assert 200 <= leak < 300
