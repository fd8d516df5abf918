"""Text that a program writes into a page: what stands between `<!-- MARK begin -->` and `<!-- MARK end -->`.

    import sections                                   # with tools/ on the path
    sections.put(page, "load suite:", text, title)    # title: of the section, when the page has no such marks yet
    sections.figures("audio", page, text)             # the measured part of a chapter, below a line that says where

The rest of the page is left as it is. In a chapter the marks must be there: its author decides where numbers stand.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from voxgate.load.report import machine, versions  # noqa: E402


def put(page: Path, mark: str, text: str, title: str | None = None) -> None:
    """Replaces what stands between the marks. Without them in the page, a section `title` is added at its end, or, when
    there is no title, SystemExit says what is missing.
    """
    begins, ends = f"<!-- {mark} begin -->", f"<!-- {mark} end -->"
    document = page.read_text(encoding="utf-8")
    if begins not in document:
        if title is None:
            raise SystemExit(f"{page}: expected {begins} and {ends} on lines of their own, where the text goes")
        document = document.rstrip("\n") + f"\n\n## {title}\n\n{begins}\n{ends}\n"
    if document.count(begins) != 1:
        raise SystemExit(f"{page} has {document.count(begins)} times {begins}")
    before, _, rest = document.partition(begins)
    _, end, after = rest.partition(ends)
    if not end:
        raise SystemExit(f"{page} has {begins}, and no {ends} after it")
    page.write_text(f"{before}{begins}\n{text}\n{ends}{after}", encoding="utf-8")


def commit() -> str:
    """Of this checkout, with a + when something else than documents is changed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        changed = git("status", "--porcelain", "-uno", "--", ".", ":!docs", ":!README.md")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def here(**libraries: str) -> dict[str, Any]:
    """Where and when this runs; `libraries`: versions of those that are measured, beside ours."""
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "machine": machine(),
        "versions": versions() | libraries,
    }


def where(command: str, measured: Mapping[str, Any]) -> str:
    """The line above measured numbers: the command that gives them, and what `here` said when they were taken."""
    on = measured["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    return (
        f"`{command}`, {measured['when'][:10]}, commit {measured['commit'] or 'unknown'}: {on['cpus']} CPUs, "
        f"{on['cpu']}, Python {on['python']}, {libraries}."
    )


def figures(name: str, page: Path, text: str, **libraries: str) -> None:
    """Puts what `docs/figures/NAME.py` has measured between `<!-- figures: NAME begin -->` and its end, below the line
    that says where. `libraries`: versions of those that are measured, beside ours.
    """
    line = where(f"python docs/figures/{name}.py", here(**libraries))
    put(page, f"figures: {name}", f"{line}\n\n{text.strip()}")
