"""How the pictures of the documents look: the same in every chapter, readable on a light and on a dark page.

import plots                                      # with tools/ on the path
plt = plots.pyplot()
figure, axes = plt.subplots(figsize=plots.size(2.5), layout="constrained")
plots.save(figure, "resampler-step")              # docs/images/resampler-step.svg
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parents[1] / "docs" / "images"
OURS, OUTSIDE, WAITS, INK = "#2563eb", "#9ca3af", "#f59e0b", "#374151"
"""Colours: what is Voxgate's, what is not, what waits or limits, and lines that are none of these."""

WIDTH_IN = 7.5
LARGEST_BYTES = 200_000


def pyplot() -> Any:
    """matplotlib.pyplot, set up to write the same SVG again when nothing has changed."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "voxgate",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.color": INK,
            "axes.grid": True,
            "grid.color": "#e5e7eb",
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "figure.facecolor": "white",
            "axes.prop_cycle": matplotlib.cycler(color=[OURS, WAITS, OUTSIDE, "#059669", "#dc2626"]),
        }
    )
    from matplotlib import pyplot

    return pyplot


def size(height_in: float) -> tuple[float, float]:
    """As wide as the text."""
    return WIDTH_IN, height_in


def save(figure: Any, name: str, dpi: int = 120) -> Path:
    """Writes docs/images/NAME.svg, or NAME.png in its place when that is smaller and the SVG would be too large."""
    path = IMAGES / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    if path.stat().st_size > LARGEST_BYTES:
        path.unlink()
        path = path.with_suffix(".png")
        figure.savefig(path, dpi=dpi, metadata={"Software": None})
    if path.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{path}: {path.stat().st_size} bytes, at most {LARGEST_BYTES}: draw fewer points")
    return path
