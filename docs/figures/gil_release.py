"""The table of decision 0003: what it costs to release the GIL for a call of a microsecond.

    python docs/figures/gil_release.py

Python's own sha256 keeps the GIL for up to 2047 bytes and releases it from 2048 on: the same work, with and without.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import sections

PAGE = ROOT / "docs" / "decisions" / "0003-when-the-gil-is-released.md"
SIZES = {"keeps it": 2047, "releases it": 2048}  # bytes
N_ALONE, ROUNDS, BESIDE_S = 2000, 200, 3.0


def alone_ns(call: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    for _ in range(N_ALONE):
        call()
    return (time.perf_counter_ns() - begin) / N_ALONE


def beside_us(call: Callable[[], object]) -> list[float]:
    """Each call's time, beside a thread that computes in Python."""
    over = threading.Event()

    def compute() -> None:
        n = 0
        while not over.is_set():
            n += 1

    thread = threading.Thread(target=compute)
    thread.start()
    taken, end_s = [], time.perf_counter() + BESIDE_S
    while time.perf_counter() < end_s:
        for _ in range(50):
            begin = time.perf_counter_ns()
            call()
            taken.append((time.perf_counter_ns() - begin) / 1000)
        time.sleep(0.001)  # as an event loop that waits: the other thread has its turn between calls, and not in them
    over.set()
    thread.join()
    return taken


def main() -> int:
    calls = {name: (lambda data=bytes(size): hashlib.sha256(data)) for name, size in SIZES.items()}
    for call in calls.values():
        alone_ns(call)
    quiet: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):  # in turns: whatever else the machine does meets both
        for name, call in calls.items():
            quiet[name].append(alone_ns(call))
    rows = [
        "| a call that | alone, least | beside a thread that computes in Python, mean | longest |",
        "|---|---|---|---|",
    ]
    for name, call in calls.items():
        times = beside_us(call)
        rows.append(f"| {name} | {min(quiet[name]):.0f} ns | {mean(times):.1f} us | {max(times) / 1000:.1f} ms |")
    kept, released = (min(times) for times in quiet.values())
    text = "\n".join(
        [*rows, "", f"Releasing and taking it back costs {released - kept:.0f} ns here when nobody else wants it."]
    )
    print(text)
    sections.figures("gil_release", PAGE, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
