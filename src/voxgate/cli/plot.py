"""Pictures of audio and its results. The only module that imports matplotlib (extra `plot`)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from voxgate.cli.meter import Envelope
from voxgate.cli.output import Output
from voxgate.errors import ConfigError

__all__ = ["POINTS", "Label", "Picture", "check_matplotlib", "check_target", "place_of"]

POINTS = 1000
"""The resolution of a picture, for audio of any length: pieces of each channel's envelope."""
_LABEL_LINES = 3
_COLUMNS = 180  # of small letters, side by side


class Label(NamedTuple):
    """A result: its bounds in seconds and its text."""

    start_s: float
    end_s: float
    text: str


def check_matplotlib() -> Any:
    """The Figure class of matplotlib. Raises ConfigError with the install command when matplotlib is missing."""
    try:
        # Only the figure: pyplot would look for a display.
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ConfigError(f"--plot needs matplotlib, pip install 'voxgate[plot]': {exc}") from None
    return Figure


def check_target(path: str) -> None:
    """Raises ConfigError, before the work, when a picture cannot be written to a file of this name."""
    known = check_matplotlib()().canvas.get_supported_filetypes()
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind and kind not in known:  # a name without an ending becomes a png
        raise ConfigError(f"--plot {path}: expected a name that ends in .png, .svg or .pdf, got .{kind}")


def place_of(path: str) -> str:
    """The file of a picture with the name `path`: a name without an ending becomes a png."""
    return path if Path(path).suffix else f"{path}.png"


class Picture:
    """One row per channel: the waveform, with bands of speech, results, and the caller's own drawings over it."""

    def __init__(self, title: str, envelopes: Sequence[Envelope], sample_rate: int) -> None:
        self._figure = check_matplotlib()(figsize=(12, 1 + 2.5 * len(envelopes)), layout="constrained")
        self.rows = self._figure.subplots(len(envelopes), 1, squeeze=False, sharex=True)[:, 0]
        self._duration_s = max(envelope.n_samples for envelope in envelopes) / sample_rate
        for channel, (axes, envelope) in enumerate(zip(self.rows, envelopes, strict=True)):
            times, lows, highs = envelope.curve(sample_rate)
            axes.fill_between(times, lows, highs, color="0.6", linewidth=0, label="waveform")
            axes.set_ylim(-1, 1)
            axes.set_ylabel(f"channel {channel}")
        self.rows[0].set_title(title, parse_math=False)
        self.rows[-1].set_xlabel("s")
        if self._duration_s:
            self.rows[-1].set_xlim(0, self._duration_s)

    def bands(self, channel: int, spans: Sequence[tuple[float, float]], name: str) -> None:
        """Marks spans, such as speech: (start, end) in seconds."""
        for index, (start, end) in enumerate(spans):
            label = name if index == 0 else None
            self.rows[channel].axvspan(start, end, color="tab:green", alpha=0.2, label=label)

    def labels(self, channel: int, labels: Sequence[Label]) -> None:
        """Marks results, with as much of their text as fits."""
        for index, (start_s, end_s, text) in enumerate(labels):
            low = index % 2 == 1  # neighbours do not touch
            level = -0.62 if low else 0.62
            self.rows[channel].plot(
                (start_s, end_s), (level, level), color="tab:blue", linewidth=2, label="results" if index == 0 else None
            )
            share = (end_s - start_s) / self._duration_s if self._duration_s else 0.0
            lines = textwrap.wrap(text, max(12, int(share * _COLUMNS)), max_lines=_LABEL_LINES, placeholder=" …")
            self.rows[channel].text(
                (start_s + end_s) / 2,
                level + (-0.04 if low else 0.04),
                "\n".join(lines),
                ha="center",
                va="top" if low else "bottom",
                fontsize="x-small",
                clip_on=True,
                parse_math=False,
            )

    def save(self, place: str | Output, *others: Any) -> None:
        """Writes the picture. `others`: further axes of the first row, for the legend. Raises OSError or ValueError."""
        if isinstance(place, str):
            with Output(place_of(place)) as output:
                return self.save(output, *others)
        handles = [handle for axes in (self.rows[0], *others) for handle in axes.get_legend_handles_labels()[0]]
        self.rows[0].legend(handles=handles, loc="upper right", fontsize="small")
        self._figure.savefig(place.file, format=Path(place.path).suffix.removeprefix(".").lower())
        return place.commit()
