"""Chapter 6, batching: what one call for several pieces of audio gains, within a stream and across streams.

    python docs/figures/batching.py

The server and the way to measure it are those of bench/batching.py: a server in a process of its own, clients here,
real sockets. Its model sleeps, so that the queue is measured and not the machine. The gain of models that compute is
measured apart, in this process and on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
# bench first: `batching` is the one there, and not this file.
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools"), str(ROOT / "tests")]

import sections
from batches import live_stream, load, padding, worth


def main() -> int:
    live_stream.draw_within(live_stream.live())
    loads = load.across()
    load.draw_across(loads)
    worth.draw_worth(worth.worth())
    tables = {
        "across": load.across_table(loads),
        "windows": load.windows_table(load.windows()),
        "padding": padding.padding_table(padding.padding()),
    }
    page = ROOT / "docs" / "series" / "6-batching.md"
    for name, lines in tables.items():
        sections.put(page, f"figures: batching, {name}", "\n".join(lines))
    where = "The tables and plots of this chapter are from one run of it."
    sections.figures("batching", page, where, onnxruntime=metadata.version("onnxruntime"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
