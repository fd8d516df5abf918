"""Every command and every line of code that the documents show: run, or checked, as `tools/snippets.py` does it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers.documents import ROOT, pages

TOOL = ROOT / "tools" / "snippets.py"
PAGES = [page for page in pages() if page != "CHANGELOG.md"]


@pytest.mark.timeout(900)  # the tool has a limit for each of its steps
@pytest.mark.parametrize("page", PAGES)
def test_page(page: str) -> None:
    # The limit is for a page that hangs; how long one takes is the machine's affair.
    command = [sys.executable, str(TOOL), "--limit", "300", page]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
