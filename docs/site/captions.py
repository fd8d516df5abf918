"""What tools/snippets.py reads behind the language of a fence, the reader of the site sees above it: the name of the
file, or that it is output.
"""

from __future__ import annotations

import html
import re
from typing import Any

FILE = re.compile(r"^(`{3,}\w+) file=(\S+)$", re.MULTILINE)
OUTPUT = re.compile(r"^(`{3,}\w+) output$", re.MULTILINE)


def say(app: Any, docname: str, source: list[str]) -> None:
    # On one line, above the fence: the lines that warnings name move by one for each, and no more.
    source[0] = FILE.sub(lambda found: caption("file", found[2]) + found[1], source[0])
    source[0] = OUTPUT.sub(lambda found: caption("output", "output") + found[1], source[0])


def caption(kind: str, text: str) -> str:
    return f'<div class="fence-caption {kind}">{html.escape(text)}</div>\n\n'


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", say)
    return {"parallel_read_safe": True}
