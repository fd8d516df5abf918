"""argparse formats a help text with `%`: a bare one ends `--help` with an exception."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    path
    for folder in ("bench", "tools", "docs", "examples", "src")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "argparse" in path.read_text()
]


def help_texts(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "help":
                    yield from (
                        part.value
                        for part in ast.walk(keyword.value)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_texts_can_be_formatted(path: Path) -> None:
    values = dict.fromkeys(("default", "prog", "type", "choices", "dest", "metavar", "nargs"), 1)
    for text in help_texts(path.read_text()):
        assert isinstance(text % values, str), text
