"""The pictures of the documents: the same again when nothing has changed, and never too large."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("matplotlib")


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    plots = importlib.import_module("plots")
    monkeypatch.setattr(plots, "IMAGES", tmp_path)
    return plots


def drawn(plots: ModuleType, n_points: int) -> Path:
    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=plots.size(2), layout="constrained")
    axes.plot(np.random.default_rng(1).normal(size=n_points), "o")
    path: Path = plots.save(figure, "noise")
    plt.close(figure)
    return path


def test_the_same_again(plots: ModuleType) -> None:
    first = drawn(plots, 10).read_bytes()
    assert drawn(plots, 10).read_bytes() == first
    assert b"<svg" in first


def test_a_drawing_of_too_many_points_becomes_a_picture(plots: ModuleType, tmp_path: Path) -> None:
    path = drawn(plots, 10_000)
    assert path.suffix == ".png"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size <= plots.LARGEST_BYTES


def test_what_is_too_large_in_both_is_told(plots: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "LARGEST_BYTES", 100)
    with pytest.raises(SystemExit, match=r"noise\.png: \d+ bytes, at most 100"):
        drawn(plots, 10)
