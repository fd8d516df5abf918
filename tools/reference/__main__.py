"""Writes the reference, which is made from the code: `make reference`.

Tests compare the committed files with the ones that this writes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .pages import write

parser = argparse.ArgumentParser(prog="python -m tools.reference", description=__doc__)
parser.add_argument("directory", nargs="?", type=Path, help="of the documents (default: docs)")
write(parser.parse_args().directory or Path(__file__).parents[2] / "docs")
