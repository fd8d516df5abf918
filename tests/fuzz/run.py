"""Fuzzes one target with atheris until libFuzzer's options end it: python tests/fuzz/run.py pcm -max_total_time=60

``make fuzz`` builds what this needs and runs all of them; see tools/fuzzing.py. A finding is written to a file,
which runs alone by: python tests/fuzz/run.py pcm crash-1234
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # where the tests import from

import atheris

from fuzz.targets import NAMES, load


def main() -> None:
    name, *arguments = sys.argv[1:] or [""]
    if name not in NAMES:
        sys.exit(f"target must be one of {', '.join(NAMES)}, got {name!r}")
    with atheris.instrument_imports(include=["voxgate"]):
        target = load(name)
    atheris.Setup([sys.argv[0], *arguments], target.fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
