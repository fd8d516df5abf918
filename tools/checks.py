"""Runs what `.ci/run` runs, one check after the other, and writes how long each took into docs/contributing.md.

    python tools/checks.py [lint types ...]        # all of CHECKS, or these alone, which are then all that is written

For a machine with nothing else to do. A check that fails ends it, and nothing is written.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

import sections

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "contributing.md"
CHECKS = {
    "lint": "style, format, and the rules about tasks and threads",
    "types": "mypy, strict; the stubs of the compiled modules against the binaries",
    "docs": "the site: every link and every name leads somewhere",
    "wheel": "builds the wheel, installs it into a clean environment, runs the demo there",
    "demo": "a server, the bundled speech, its results beside the truth",
    "test": "every test, with those of the page in Chromium",
}


def rounded(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(CHECKS))
    names = parser.parse_args().checks or list(CHECKS)
    rows = []
    for name in names:
        begin_s = time.monotonic()
        command = ["make", name, *(["ARGS=--fast"] if name == "demo" else [])]
        subprocess.run(command, cwd=ROOT, check=True)
        rows.append(f"| `make {name}` | {CHECKS[name]} | {rounded(time.monotonic() - begin_s)} |")
    table = "\n".join(["| | checks | takes |", "|---|---|---|", *rows])
    text = f"{sections.where('python tools/checks.py', sections.here())}\n\n{table}"
    sections.put(PAGE, "checks:", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
