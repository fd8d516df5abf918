"""Every diagram is of the source that lies beside it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def diagrams(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS.parent / "tools"))
    return importlib.import_module("diagrams")


@pytest.mark.parametrize("source", sorted((DOCS / "diagrams").glob("*.dot")), ids=lambda path: path.stem)
def test_the_picture_is_of_its_source(diagrams: ModuleType, source: Path) -> None:
    image = diagrams.picture(source)
    assert image.exists(), f"make diagrams: {image.name} is not there"
    assert diagrams.drawn_from(image) == (source.name, diagrams.digest(source)), "make diagrams: the source has changed"


def test_no_picture_is_of_a_source_that_is_gone(diagrams: ModuleType) -> None:
    drawn = [mark[0] for image in (DOCS / "images").glob("*.svg") if (mark := diagrams.drawn_from(image)) is not None]
    assert set(drawn) <= {path.name for path in (DOCS / "diagrams").glob("*.dot")}


def test_the_house_is_that_of_the_table_of_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS.parent / "tools"))
    house = importlib.import_module("house")
    assert house.DIAGRAM.read_text() == house.diagram(house.allowed()), "run: python tools/house.py; make diagrams"
