"""The contents of the site are the lists of its index pages: no second list that has to be kept.

In docs/index.md each heading of the second level becomes a part of the sidebar, with the pages that the list or table
below it links to, in that order. Where it links to another `index.md`, the pages follow that are listed there. The
pages that a `README.md` lists become its sub-pages. A page that nobody lists is a warning of Sphinx's, and so an error.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\]\(([^)#:\s]+)\.md\)")
ITEM = re.compile(r"\s*(?:[-*|]|\d+\.)\s")


def listed(text: str) -> list[str]:
    """The pages that items of lists and rows of tables link to, each once."""
    lines = [line for line in text.splitlines() if ITEM.match(line)]
    return list(dict.fromkeys(page for line in lines for page in LINK.findall(line)))


def with_theirs(app: Any, pages: list[str]) -> list[str]:
    """With the pages that an `index.md` among them lists in its own folder."""
    docs, found = Path(app.srcdir), []
    for page in pages:
        found.append(page)
        folder, name = posixpath.split(page)
        if name == "index":
            app.env.note_dependency(docs / f"{page}.md")
            theirs = listed((docs / f"{page}.md").read_text(encoding="utf-8"))
            found += [f"{folder}/{other}" for other in theirs if "/" not in other]
    return list(dict.fromkeys(found))


def toctree(pages: list[str], caption: str | None = None) -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""])


def add_contents(app: Any, docname: str, source: list[str]) -> None:
    text = source[0]
    if docname == "index":
        for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            caption, _, below = part.partition("\n")
            if pages := listed(below):
                source[0] += toctree(with_theirs(app, pages), caption.strip())
    elif posixpath.basename(docname) == "README":
        source[0] += toctree([page for page in listed(text) if "/" not in page])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True}
