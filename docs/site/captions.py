"""What tools/snippets.py reads behind the language of a fence, the reader of the site sees: the name of the file above
it, and that something is output.
"""

from __future__ import annotations

import re
from typing import Any

FILE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w+) file=(?P<file>\S+)$", re.MULTILINE)
OUTPUT = re.compile(r"^(?P<fence>`{3,})(?P<language>\w+) output$", re.MULTILINE)


def say(app: Any, docname: str, source: list[str]) -> None:
    source[0] = FILE.sub(r"\g<fence>{code-block} \g<language>\n:caption: \g<file>\n", source[0])
    source[0] = OUTPUT.sub(r"\g<fence>{code-block} \g<language>\n:class: output\n", source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", say)
    return {"parallel_read_safe": True}
