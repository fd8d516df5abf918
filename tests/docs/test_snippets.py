"""Every command and every line of code that the documents show: run, or checked, as `tools/snippets.py` does it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "snippets.py"

# Pages with fences that are not yet what the tool wants. The list only gets shorter.
NOT_YET = {
    "README.md",
    "docs/client.md",
    "docs/load.md",
    "docs/models.md",
    "docs/operations.md",
    "docs/tracing.md",
}


def pages() -> list[str]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "README.md", "examples/README.md", "docs/*.md"],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(page for page in listed.stdout.split() if (ROOT / page).exists())


def snippets(page: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *options, page], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("page", pages())
def test_page(page: str) -> None:
    done = snippets(page)
    if page in NOT_YET:
        assert done.returncode, f"{page} is as it should be: take it off the list"
        pytest.xfail("not yet converted")
    assert done.returncode == 0, done.stderr


def test_the_list_names_no_page_that_is_gone() -> None:
    assert set(pages()) >= NOT_YET
