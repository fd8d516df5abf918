"""The picture of the house: floors from the table of imports, and nothing but what it says."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    house = importlib.import_module("house")
    floors = {"top": ("first", ("a", "b")), "middle": ("second", ("c",)), "bottom": ("third", ("d",))}
    monkeypatch.setattr(house, "FLOORS", floors)
    return house


def test_arrows_that_follow_from_others_are_left_out(house: ModuleType) -> None:
    table = {"a": {"b", "c", "d"}, "b": set(), "c": {"d"}, "d": set()}
    assert house.arrows(table) == {"top": {"middle"}, "middle": {"bottom"}, "bottom": set()}
    drawn = house.diagram(table)
    assert '"top" -> "middle"' in drawn
    assert '"top" -> "bottom"' not in drawn


def test_one_that_follows_from_nothing_is_there(house: ModuleType) -> None:
    table = {"a": set(), "b": {"d", "c"}, "c": set(), "d": set()}
    assert house.arrows(table) == {"top": {"middle", "bottom"}, "middle": set(), "bottom": set()}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"a": set(), "b": set(), "c": set(), "d": set(), "new": set()}, r"on no floor: \['new'\]"),
        ({"a": set(), "b": set(), "c": set()}, r"not in the table of tests/test_imports.py: \['d'\]"),
        ({"a": {"c"}, "b": set(), "c": {"b"}, "d": set()}, "floors import each other: "),
    ],
)
def test_what_cannot_be_drawn(house: ModuleType, table: dict[str, set[str]], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        house.arrows(table)


def test_rooms_floors_and_arrows_are_counted(house: ModuleType) -> None:
    table = {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}
    assert house.count(table) == "4 rooms on 3 floors, 3 arrows; the picture has 3 floors"


def test_the_picture_has_at_most_twelve_floors() -> None:
    spec = importlib.util.spec_from_file_location("house_as_it_is", Path(__file__).parents[2] / "tools" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    as_it_is = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(as_it_is)
    assert as_it_is.height(as_it_is.allowed()) <= 12
    assert len(as_it_is.FLOORS) <= 12
