"""How often the detector decides otherwise with a faster arithmetic than with float32.

    python bench/silero_accuracy.py [--hours 10] [--isa NAME]

Both hear the same hours of speech, noise, music and silence (bench/silero_material.py). A frame of 32 ms decides
otherwise when its two probabilities lie on two sides of a threshold. Prints a row per kind of scene and one of all,
and ends with 1 when more than one frame in 10 000 does so.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from numpy.typing import NDArray
from silero_material import BLOCK_S, KINDS, block

from voxgate._native import isa
from voxgate._native.silero import SileroDetector, SileroNetwork, precisions
from voxgate.vad.weights import load_weights

THRESHOLDS = (0.5, 0.35)
LIMIT = 1e-4


class Row:
    def __init__(self) -> None:
        self.n_frames = 0
        self.n_speech = 0
        self.n_unsure = 0
        self.otherwise = np.zeros(len(THRESHOLDS), np.int64)
        self.total_error = 0.0
        self.largest_error = 0.0

    def add(self, exact: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        error = np.abs(found - exact)
        self.n_frames += len(exact)
        self.n_speech += int((exact >= 0.5).sum())
        self.n_unsure += int(((exact > 0.1) & (exact < 0.9)).sum())
        self.otherwise += [int(((found >= level) != (exact >= level)).sum()) for level in THRESHOLDS]
        self.total_error += float(error.sum(dtype=np.float64))
        self.largest_error = max(self.largest_error, float(error.max()))

    def cells(self) -> list[str]:
        return [
            f"{self.n_frames}",
            f"{self.n_speech / self.n_frames:.0%}",
            f"{self.n_unsure / self.n_frames:.0%}",
            *(f"{n} ({n / self.n_frames * 1e4:.2f} in 10 000)" for n in self.otherwise),
            f"{self.total_error / self.n_frames:.1e}",
            f"{self.largest_error:.1e}",
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--isa", choices=isa.supported(), default=isa.active())
    arguments = parser.parse_args()
    weights = load_weights()
    fastest = precisions(arguments.isa)[0]
    networks = [SileroNetwork(weights, arguments.isa, precision) for precision in ("float32", fastest)]
    rows = {kind: Row() for kind in KINDS}
    total = Row()
    for k in range(max(len(KINDS), round(arguments.hours * 3600 / BLOCK_S))):
        samples = block(k)[None]
        exact, found = (SileroDetector(network).probabilities(samples)[0] for network in networks)
        for row in (rows[KINDS[k % len(KINDS)]], total):
            row.add(exact, found)

    heads = ["frames", "speech", "0.1 to 0.9", *(f"otherwise at {level}" for level in THRESHOLDS)]
    print(f"{arguments.isa}: {fastest} beside float32\n")
    print("| " + " | ".join(["scene", *heads, "mean difference", "largest"]) + " |")
    print("|---" + "|---:" * (len(heads) + 2) + "|")
    for name, row in [*rows.items(), ("**all**", total)]:
        print("| " + " | ".join([name, *row.cells()]) + " |")
    return int((total.otherwise > LIMIT * total.n_frames).any())


if __name__ == "__main__":
    sys.exit(main())
