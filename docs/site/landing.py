"""The first page has no table of its own contents: its hero takes the width."""

from __future__ import annotations

from typing import Any


def widen(app: Any, doctree: Any) -> None:
    if app.env.docname == "index":
        app.env.metadata["index"]["hide-toc"] = "true"


def setup(app: Any) -> dict[str, bool]:
    app.connect("doctree-read", widen)
    return {"parallel_read_safe": True}
