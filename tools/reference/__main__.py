"""Writes the reference, which is made from the code: `make reference`.

    python -m tools.reference [DIRECTORY]       # of the documents; docs, when it is left out

Tests compare the committed files with the ones that this writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .pages import write

if len(sys.argv) > 2:
    sys.exit("usage: python -m tools.reference [DIRECTORY]")
write(Path(sys.argv[1]) if len(sys.argv) == 2 else Path(__file__).parents[2] / "docs")
