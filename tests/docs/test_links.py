"""Every relative link and picture of every page leads somewhere: to a file, and where it names one, to a heading."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from helpers.documents import ROOT, pages


@cache
def tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


def links(path: Path) -> Iterator[tuple[int, str]]:
    """Line and target of each link and picture."""
    for token in tokens(path):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str):
                yield (token.map or [0])[0] + 1, unquote(target)


@cache
def anchors(path: Path) -> set[str]:
    """What GitHub and the site name the headings."""
    found: dict[str, int] = {}
    result = set()
    headings = zip(tokens(path), tokens(path)[1:], strict=False)
    for text in (after.children or [] for token, after in headings if token.type == "heading_open"):
        words = "".join(child.content for child in text if child.type in ("text", "code_inline")).strip().lower()
        kept = (c for c in words if c in " -_" or unicodedata.category(c)[0] in "LN")
        slug = "".join(kept).replace(" ", "-")
        result.add(f"{slug}-{found[slug]}" if found.setdefault(slug, 0) else slug)
        found[slug] += 1
    return result


def problem(page: Path, target: str) -> str | None:
    if re.match(r"[a-z+.-]+:", target):
        return None  # of another place, where nobody here can look
    name, _, anchor = target.partition("#")
    path = Path(posixpath.normpath(page.parent / name)) if name else page
    if name.startswith("/") or not path.is_relative_to(ROOT):
        return "leads out of the repository"
    if not path.exists():
        return "there is no such file"
    if anchor and path.suffix == ".md" and anchor not in anchors(path):
        return f"{path.name} has no heading of this name; it has {', '.join(sorted(anchors(path)))}"
    return None


@pytest.mark.parametrize("page", pages())
def test_links(page: str) -> None:
    path = ROOT / page
    problems = [(line, target, problem(path, target)) for line, target in links(path)]
    assert [f"{page}:{line}: {target}: {why}" for line, target, why in problems if why] == []


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith("docs/")])
def test_index_pages_list_it(page: str) -> None:
    """What no index lists has no place in the site."""
    path = ROOT / page
    docs = ROOT / "docs"
    indexes = [docs / "index.md", path.parent / "index.md", path.parent / "README.md"]
    listing = [index for index in indexes if index.exists() and index != path]
    targets = {Path(posixpath.normpath(index.parent / target)) for index in listing for _, target in links(index)}
    assert path == docs / "index.md" or path in targets, f"docs/index.md, or one in {path.parent.name}, should list it"
