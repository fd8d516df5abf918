"""Every command and every line of code that the documents show: run, or checked, as `tools/snippets.py` does it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from documents import ROOT, pages

TOOL = ROOT / "tools" / "snippets.py"


PAGES = [page for page in pages() if page != "CHANGELOG.md"]


def snippets(page: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *options, page], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str) -> None:
    done = snippets(page)
    assert done.returncode == 0, done.stderr
