"""Signatures of the Python API as a reader wants them: the names of aliases, where autodoc shows how it keeps them or
cannot evaluate them.
"""

from __future__ import annotations

import re
from typing import Any

ALIAS = re.compile(r"TypeAliasForwardRef\('([\w.]+)'\)")
ARRAY = re.compile(r"\bPlanes\b")


def name(text: str | None) -> str | None:
    return text and ARRAY.sub("numpy.ndarray", ALIAS.sub(r"\1", text))


def tidy(app: Any, what: str, path: str, obj: Any, options: Any, signature: str | None, returns: str | None) -> Any:
    return name(signature), name(returns)


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-signature", tidy)
    return {"parallel_read_safe": True}
