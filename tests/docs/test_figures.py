"""Measured numbers and pictures: each comes from a program of the repository, is there, and is shown somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.documents import ROOT, pages

DOCS = ROOT / "docs"
LARGEST_BYTES = 200_000
SECTION = re.compile(
    r"<!-- figures: (?P<name>\w+)(?P<part>[^>]*?) begin -->\n(?P<text>.*?)<!-- figures: .*?-->", re.DOTALL
)
PAGES = [page for page in pages() if page.startswith("docs/")]
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
PROGRAMS = sorted(path.stem for path in (DOCS / "figures").glob("*.py"))
IMAGES = sorted(path for path in (DOCS / "images").iterdir() if path.is_file())


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- figures:" in TEXTS[page]])
def test_sections_are_whole_filled_and_from_a_program_that_there_is(page: str) -> None:
    text = TEXTS[page]
    sections = list(SECTION.finditer(text))
    assert 2 * len(sections) == text.count("<!-- figures:")
    for section in sections:
        name = f"{section['name']}{section['part']}"
        assert section[0].endswith(f"<!-- figures: {name} end -->"), f"{name}: begins and does not end"
        assert section["name"] in PROGRAMS, f"docs/figures/{section['name']}.py is not there"
        assert section["text"].strip(), f"{name} is empty: python docs/figures/{section['name']}.py"


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_says_where_it_measured(program: str) -> None:
    lines = [section["text"] for text in TEXTS.values() for section in SECTION.finditer(text) if not section["part"]]
    where = rf"`python docs/figures/{program}\.py`, \d{{4}}-\d\d-\d\d, commit [0-9a-f]{{10}}\+?: \d+ CPUs, "
    assert any(re.match(where, line) for line in lines), f"no page has the section `figures: {program}` with its line"


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_pictures_are_shown_and_not_too_large(image: Path) -> None:
    shown = [*TEXTS.values(), (ROOT / "README.md").read_text(encoding="utf-8")]
    assert any(f"images/{image.name})" in text for text in shown), "no page shows it"
    assert image.stat().st_size <= LARGEST_BYTES
