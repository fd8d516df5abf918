"""The picture at the top of docs/performance.md is of the numbers below it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
LIMIT = "a core has time for about 2000 live streams\n"
TABLE = """
| live streams on one core | Voxgate | plain server | ratio |
|---|---|---|---|
| segmented, 20 ms, 16 kHz, mono | about 1000 | 250 |  |
| segmented, 100 ms, 16 kHz, mono | 1500 or more | about 500 |  |
| simple, 20 ms, 16 kHz, mono | about 400 | about 300 |  |
"""


@pytest.fixture
def headline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench" / "load"))
    return importlib.import_module("headline")


def test_the_picture_is_that_of_the_page(headline: ModuleType) -> None:
    drawn = (ROOT / "docs" / "images" / headline.NAME).read_text(encoding="utf-8")
    assert drawn == headline.picture(PAGE.read_text(encoding="utf-8")), "run: python bench/load/headline.py"


def test_bars_are_as_long_as_their_numbers(headline: ModuleType) -> None:
    svg = ElementTree.fromstring(headline.picture(LIMIT + TABLE))
    bars = [bar for bar in svg.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class") != "ground"]
    widths = [(bar.get("class"), float(bar.attrib["width"])) for bar in bars]
    unit = widths[0][1] / 1000
    expected = [("voxgate", 1000), ("plain", 250), ("limit", 2000), ("voxgate", 1500), ("plain", 500)]
    assert widths == [(kind, pytest.approx(count * unit, abs=0.2)) for kind, count in expected]


@pytest.mark.parametrize("text", [LIMIT, TABLE], ids=["no table", "no limit"])
def test_a_page_without_its_numbers_is_an_error(headline: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match="no table of the load suite, or does not say the limit"):
        headline.picture(text)
