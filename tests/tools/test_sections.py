"""Texts that go into pages: between their marks, and nowhere else."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return importlib.import_module("sections")


def test_what_stands_between_the_marks_is_replaced_and_nothing_else(sections: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- figures: a begin -->\nold\n<!-- figures: a end -->\n\nafter\n")
    for _ in range(2):
        sections.put(page, "figures: a", "new\nlines")
        assert page.read_text() == (
            "before\n\n<!-- figures: a begin -->\nnew\nlines\n<!-- figures: a end -->\n\nafter\n"
        )


def test_without_marks_a_titled_section_is_added_at_the_end(sections: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    sections.put(page, "suite:", "text", "Title")
    assert page.read_text() == "# Page\n\n## Title\n\n<!-- suite: begin -->\ntext\n<!-- suite: end -->\n"


@pytest.mark.parametrize(
    "text", ["no marks\n", "<!-- a begin -->\n", "<!-- a begin --><!-- a end --><!-- a begin --><!-- a end -->"]
)
def test_marks_that_are_not_one_pair_are_told_and_the_page_stays(sections: Any, tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(SystemExit, match=r"page\.md"):
        sections.put(page, "a", "new")
    assert page.read_text() == text


def test_measured_numbers_stand_below_the_command_the_machine_and_the_versions(sections: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- figures: audio begin -->\n<!-- figures: audio end -->\n")
    sections.figures("audio", page, "\n| table |\n", soxr="1.2.3")
    _, line, empty, table, _ = page.read_text().splitlines()
    here = sections.here()
    assert line.startswith(f"`python docs/figures/audio.py`, {here['when']}, commit {here['commit']}: ")
    assert here["machine"]["cpu"] in line
    assert f"numpy {here['versions']['numpy']}" in line
    assert line.endswith("soxr 1.2.3.")
    assert (empty, table) == ("", "| table |")
