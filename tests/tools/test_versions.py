"""The versions of other packages that are tested: those at both ends of the ranges in pyproject.toml."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("versions")


RANGES = ["numpy>=2", "uvicorn>=0.5,<1", "websockets>=17,<18", "starlette>=1.0,<2", "msgspec>=0.2,<1"]


def test_the_oldest_are_the_lower_bounds_and_the_newest_what_the_range_has(versions: ModuleType) -> None:
    oldest = ["uvicorn==0.5", "websockets==17", "starlette==1.0", "msgspec==0.2"]
    assert versions.requirements("oldest", RANGES) == oldest
    assert versions.requirements("newest", RANGES) == RANGES[1:]


def test_those_of_the_project_have_both_ends(versions: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(versions.bounds(project["dependencies"])) == set(versions.PACKAGES)


@pytest.mark.parametrize("wrong", ["msgspec", "msgspec>=0.2", "msgspec<1", "msgspec==0.2"])
def test_a_range_without_an_end_is_an_error(versions: ModuleType, wrong: str) -> None:
    with pytest.raises(SystemExit, match="expected msgspec>=LOWEST,<END"):
        versions.requirements("oldest", [*RANGES[:-1], wrong])


def test_the_tests_that_it_runs_are_there(versions: ModuleType) -> None:
    assert [name for name in (*versions.TESTS, *versions.SMOKE) if not (ROOT / name).exists()] == []
