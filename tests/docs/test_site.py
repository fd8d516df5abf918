"""What the site makes of plain Markdown, with pages of the test's own; `make docs` builds the real one, as strictly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.documents import ROOT

for needed in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
    pytest.importorskip(needed, reason="the extra docs is not installed: make docs")

INDEX = """
# Title

## One

- [First](first.md): text
- [Chapters](series/index.md)
"""
SERIES = """
# Chapters

| | |
|---|---|
| [Zero](0-zero.md) | text |
"""
LINKS = "[app](../../src/app.py) [folder](../../src) [changes](../../CHANGES.md) [index](../index.md)"
PAGES = {
    "docs/index.md": INDEX,
    "docs/first.md": "# First\n\n[Zero](series/0-zero.md#a-heading-and-more)\n",
    "docs/series/index.md": SERIES,
    "docs/series/0-zero.md": f"# Zero\n\n## A heading: and more\n\n{LINKS}\n",
    "src/app.py": "print(1)\n",
    "src/deep/er.txt": "text\n",
    "CHANGES.md": "# Changes\n",
}
FENCES = "```python file=my/model.py\nx = 1\n```\n\n```text output\n--x\n```\n"
WRONG = {
    "[x](nothing.md)": "first.md:3: WARNING: 'myst' cross-reference target not found: 'nothing.md'",
    "[x](../src/nothing.py)": "first.md:5: WARNING: 'myst' cross-reference target not found: '../src/nothing.py'",
    "[x](series/0-zero.md#nothing)": "first.md:7: WARNING: local id not found in doc 'series/0-zero': 'nothing'",
    "![x](images/nothing.svg)": "first.md:9: WARNING: image file not readable: images/nothing.svg",
}


def built(root: Path, changes: dict[str, str]) -> tuple[str, Path]:
    """What Sphinx says of the pages with these changes, and where the site is."""
    for name, text in {**PAGES, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    strict = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "--conf-dir", str(ROOT / "docs")]
    command = [sys.executable, "-m", "sphinx", *strict, str(root / "docs"), str(root / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr, root / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    said, site = built(tmp_path_factory.mktemp("site"), {"docs/series/index.md": f"{SERIES}\n{FENCES}"})
    assert said == ""
    return site


def test_pages_are_listed_where_the_lists_say(site: Path) -> None:
    sidebar = re.findall(r'toctree-l1"><a class="reference internal" href="([^"]+)"', (site / "index.html").read_text())
    assert sidebar == ["first.html", "series/index.html", "series/0-zero.html"]
    assert 'href="series/0-zero.html#a-heading-and-more"' in (site / "first.html").read_text()


def test_the_first_page_has_no_table_of_its_own_contents(site: Path) -> None:
    drawer = re.compile(r'class="toc-drawer([^"]*)"')
    assert drawer.findall((site / "index.html").read_text()) == [" no-toc"]
    assert drawer.findall((site / "series" / "0-zero.html").read_text()) == [""]


def test_every_page_has_the_logo_for_light_and_for_dark_and_the_script(site: Path) -> None:
    page = (site / "series" / "0-zero.html").read_text()
    for name in ("logo-light.svg", "logo-dark.svg", "site.js"):
        assert f'src="../_static/{name}' in page
        assert (site / "_static" / name).exists()


def test_links_to_files_lead_to_pages_of_them(site: Path) -> None:
    page = (site / "series" / "0-zero.html").read_text()
    for target in ("../repository/src/app.py.html", "../repository/src.html", "../repository/CHANGES.md.html"):
        assert f'href="{target}"' in page
        assert (site / "series" / target).exists()
    assert '<span class="nb">print</span>' in (site / "repository/src/app.py.html").read_text()
    assert 'href="src/deep/er.txt.html"' in (site / "repository/src.html").read_text()
    assert (site / "repository/src/deep/er.txt.html").exists()


def test_what_stands_behind_the_language_of_a_fence_is_seen_above_it(site: Path) -> None:
    page = (site / "series" / "index.html").read_text()
    assert '<div class="fence-caption file">my/model.py</div>' in page
    assert '<div class="fence-caption output">output</div>' in page
    assert "--x" in page


def test_what_leads_nowhere_or_is_nowhere_ends_the_build(tmp_path: Path) -> None:
    wrong = "# First\n\n" + "\n\n".join(WRONG) + "\n"
    said, _ = built(tmp_path, {"docs/first.md": wrong, "docs/other.md": "# Other\n"})
    for problem in (*WRONG.values(), "other.md: WARNING: document isn't included in any toctree"):
        assert problem in said
