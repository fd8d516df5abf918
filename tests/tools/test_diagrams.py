"""Diagrams are drawn anew when their source has changed, and carry its digest."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def diagrams(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    diagrams = importlib.import_module("diagrams")
    for name in ("diagrams", "images"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(diagrams, name.upper(), tmp_path / name)
    monkeypatch.setattr(diagrams, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["diagrams.py"])
    return diagrams


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_what_has_changed_is_drawn(diagrams: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (diagrams.DIAGRAMS / f"{name}.dot" for name in ("one", "other"))
    one.write_text("digraph { a -> b }")
    other.write_text("digraph { c -> d }")
    diagrams.main()
    assert capsys.readouterr().out.count("\n") == 2
    assert diagrams.drawn_from(diagrams.picture(one)) == ("one.dot", diagrams.digest(one))
    one.write_text("digraph { a -> changed }")
    diagrams.main()
    assert capsys.readouterr().out.endswith("images/one.svg\n")
    assert diagrams.drawn_from(diagrams.picture(one)) == ("one.dot", diagrams.digest(one))
    assert "changed" in diagrams.picture(one).read_text()
    diagrams.main()
    assert capsys.readouterr().out == ""


def test_a_picture_that_is_no_diagram(diagrams: ModuleType) -> None:
    plot = diagrams.IMAGES / "plot.svg"
    plot.write_text("<svg></svg>")
    assert diagrams.drawn_from(plot) is None


def test_without_graphviz(diagrams: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="there is no `dot`"):
        diagrams.main()
