from __future__ import annotations

import sys
from pathlib import Path

from voxgate.manual.pages import write

if len(sys.argv) != 2:
    sys.exit("usage: python -m voxgate.manual DIRECTORY (docs, in a checkout)")
write(Path(sys.argv[1]))
