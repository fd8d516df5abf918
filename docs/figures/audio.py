"""The pictures and measured tables of the chapter on audio.

    python docs/figures/audio.py

Pictures go to docs/images/audio-*, tables into docs/series/2-audio.md. What is measured of the resamplers comes from
bench/resample_quality.py.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

import plots
import sections

pyplot = plots.pyplot()
pyplot.rcParams["axes.titlesize"] = 9

import numpy as np
import resample_quality as quality
import soundfile
import soxr

from voxgate import recordings
from voxgate._native.pcm import PcmDecoder
from voxgate._native.resample import Resampler, kernel_coefficients
from voxgate.audio.soxr import SoxrResampler

PAGE = ROOT / "docs" / "series" / "2-audio.md"
TO_RATE = 16_000
SHOWN_HZ = ("48000", "8000")
Samples = Any


def planes(samples: Samples) -> Samples:
    return np.asarray(samples, np.float32)[None, :]


def whole(resampler: Resampler | SoxrResampler, samples: Samples) -> Samples:
    return np.concatenate([resampler.push(planes(samples)), resampler.finish()], axis=1)[0]


def aliasing() -> None:
    """A tone that rises from 0 to 24 kHz, brought from 48 kHz to 16 kHz: with every third sample, and with a filter."""
    rate, seconds = 48_000, 4
    times = np.arange(rate * seconds) / rate
    sweep = np.sin(np.pi * rate / 2 / seconds * times**2)
    figure, panels = pyplot.subplots(1, 2, figsize=plots.size(3), dpi=80, sharey=True, layout="constrained")
    for panel, samples, title in (
        (panels[0], sweep[::3], "every third sample"),
        (panels[1], whole(Resampler(rate, TO_RATE), sweep), "low-pass filter, then every third sample"),
    ):
        _, _, _, image = panel.specgram(
            samples + 1e-9, NFFT=512, Fs=TO_RATE, noverlap=256, vmin=-140, vmax=-30, cmap="Blues"
        )
        image.set_rasterized(True)
        panel.set_title(title)
        panel.set_xlabel("time, s")
        panel.set_xlim(0, seconds)
        panel.grid(False)
        top = panel.secondary_xaxis("top", functions=(lambda t: t * 6, lambda f: f / 6))
        top.set_xlabel("frequency of the input, kHz", fontsize=8)
        top.tick_params(labelsize=8)
    panels[0].set_yticks(range(0, 8001, 2000), ["0", "2", "4", "6", "8"])
    panels[0].set_ylabel("frequency of the output, kHz")
    plots.save(figure, "audio-aliasing")


def kernel(periods: Samples) -> Samples:
    """The low-pass kernel as a function of time, in periods of the lower rate (ext/.../resample_kernel.h)."""
    coefficients = np.array(kernel_coefficients())
    angles = np.pi * np.outer(periods, np.arange(len(coefficients))) / 23
    return np.where(np.abs(periods) < 23, np.cos(angles) @ coefficients, 0.0)


def polyphase() -> None:
    """24 kHz to 16 kHz: two outputs, the one kernel around each, and the weights that the input samples get."""
    from_rate = 24_000
    scale = TO_RATE / from_rate
    inputs = np.arange(-9, 13)
    curve = np.linspace(-9, 12, 1200)
    wave = 0.62 * np.sin(0.9 + 0.55 * inputs) + 0.3 * np.sin(1.31 * inputs)
    figure, panels = pyplot.subplots(3, 1, figsize=plots.size(4.8), sharex=True, layout="constrained")
    panels[0].stem(inputs, wave, linefmt=plots.OUTSIDE, markerfmt="o", basefmt=" ")
    for stem in panels[0].collections:
        stem.set_color(plots.OUTSIDE)
    panels[0].lines[0].set_color(plots.OUTSIDE)
    outputs = np.arange(-6, 9) * from_rate / TO_RATE
    for position in outputs:
        panels[0].plot(
            [position], [-1.25], marker="^", color=plots.OURS if position % 1 == 0 else plots.WAITS, clip_on=False
        )
    panels[0].set_ylim(-1.25, 1.1)
    panels[0].set_title("input samples (24 kHz), and where the output samples (16 kHz) have to lie")
    for panel, position, colour, name in (
        (panels[1], 0.0, plots.OURS, "an output on an input sample: row 0 of the table"),
        (panels[2], 1.5, plots.WAITS, "the next one, half-way between two: row 1 of the table"),
    ):
        panel.plot(curve, kernel((curve - position) * scale), color="#d1d5db", linewidth=1.5)
        weights = kernel((inputs - position) * scale)
        markers = panel.stem(inputs, weights, basefmt=" ")
        markers.markerline.set(color=colour, markersize=5)
        markers.stemlines.set_color(colour)
        panel.axvline(position, color=colour, linewidth=0.8, linestyle=":")
        panel.set_title(name)
        panel.axhline(0, color=plots.OUTSIDE, linewidth=0.5)
    panels[2].set_xlabel("time, in input samples")
    panels[2].set_xticks(range(-9, 13, 3))
    panels[2].set_xlim(-9.3, 12.3)
    for panel in panels:
        panel.set_yticks([])
        panel.grid(False)
        panel.spines["left"].set_visible(False)
    plots.save(figure, "audio-polyphase")


def response() -> None:
    """What is left of a tone on its way from 48 kHz to 16 kHz: all of it, the passband, the edge."""
    rate = 48_000
    figure, panels = pyplot.subplots(1, 3, figsize=plots.size(3.4), layout="constrained", width_ratios=[1.4, 1.1, 1])
    for name, colour in (("soxr HQ", plots.OUTSIDE), ("voxgate polyphase", plots.OURS)):
        make = quality.RESAMPLERS[name]
        # Not 8000 Hz itself: at two samples a period the level of a tone depends on its phase.
        everywhere = [np.arange(100, 6800, 400), np.arange(6800, 9200, 50) + 15, np.arange(9200, 23950, 120)]
        for panel, frequencies, passing in (
            (panels[0], np.concatenate(everywhere), False),
            (panels[1], np.arange(40, 7700, 60), True),
            (panels[2], np.arange(7000, 9200, 25) + 12, False),
        ):
            measured = [quality.response(make, rate, frequency, 0.4) for frequency in frequencies]
            values = [quality.db(tone if passing else everything) for tone, _, everything in measured]
            panel.plot(
                frequencies / 1000, values, color=colour, linewidth=1.2, label=name.replace("voxgate", "Voxgate")
            )
    panels[0].axvspan(8, 24, color=plots.WAITS, alpha=0.12, linewidth=0)
    panels[0].text(16, -8, "would fold", ha="center", va="top", fontsize=8)
    panels[0].set(ylim=(-160, 5), xlim=(0, 24), ylabel="level of the output, dB", title="all frequencies")
    panels[1].set(ylim=(-0.1, 0.1), yticks=[-0.1, -0.05, 0, 0.05, 0.1], xlim=(0, 8), title="the passband")
    panels[2].set(ylim=(-120, 5), xlim=(7, 9.2), title="the edge")
    panels[2].axvline(8, color=plots.WAITS, linewidth=0.8)
    for panel in panels:
        panel.set_xlabel("frequency of the tone, kHz")
    panels[0].legend(fontsize=8, loc="center right", handlelength=1)
    plots.save(figure, "audio-response")


def given_out(make: quality.Make, rate: int, samples: Samples) -> tuple[Samples, Samples]:
    """Fed by the sample: for each input sample, how many outputs have left by then, and the newest of them."""
    resampler = make(rate)
    counts, newest = np.zeros(len(samples)), np.zeros(len(samples))
    for n in range(len(samples)):
        ready = resampler.push(planes(samples[n : n + 1]))[0]
        counts[n] = resampler.produced
        newest[n] = ready[-1] if len(ready) else newest[n - 1] if n else 0.0
    return counts, newest


def delay() -> None:
    """A step from silence to full level: when it comes out; and how far the output lags behind the input."""
    rate, at_s, seconds = 48_000, 0.062, 0.15
    times_ms = np.arange(1, int(rate * seconds) + 1) / rate * 1000
    step = np.where(times_ms < at_s * 1000, 0.0, 1.0)
    figure, panels = pyplot.subplots(1, 2, figsize=plots.size(3.6), layout="constrained")
    for name, colour in (("soxr HQ", plots.OUTSIDE), ("voxgate polyphase", plots.OURS)):
        counts, newest = given_out(quality.RESAMPLERS[name], rate, step)
        label = name.replace("voxgate", "Voxgate")
        seen = (times_ms > 55) & (times_ms < 105)
        panels[0].step(times_ms[seen], newest[seen], where="post", color=colour, label=label, linewidth=1.5)
        panels[1].step(times_ms[::6], counts[::6] / TO_RATE * 1000, where="post", color=colour, label=label)
    panels[0].axvline(at_s * 1000, color=plots.WAITS, linewidth=1.5, label="the step arrives")
    panels[0].set(xlim=(55, 105), xlabel="audio received, ms", ylabel="newest sample given out")
    panels[0].set_title("a step from 0 to 1")
    panels[1].plot([0, 150], [0, 150], color=plots.INK, linewidth=0.6, linestyle=":", label="no delay")
    panels[1].set(xlim=(0, 150), ylim=(0, 150), xlabel="audio received, ms", ylabel="audio given out, ms")
    panels[1].set_title("how far the output is behind")
    for panel in panels:
        panel.legend(fontsize=8)
    plots.save(figure, "audio-delay")


ENCODINGS = (("u8", "PCM_U8"), ("mulaw", "ULAW"), ("alaw", "ALAW"), ("s16", "PCM_16"))
LEVELS_DB = (0, -20, -40)


def encoded(samples: Samples, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format="RAW", subtype=subtype)
    return file.getvalue()


def encodings() -> list[str]:
    """Speech written by libsndfile, read by our decoder: how far the speech lies above the error, by its level."""
    spoken, _ = soundfile.read(recordings.path("telephone"), dtype="float64")
    spoken *= 0.99 / np.abs(spoken).max()
    lines = ["| peak of the speech | " + " | ".join(f"`{name}`" for name, _ in ENCODINGS) + " |"]
    lines.append("|---|" + "---:|" * len(ENCODINGS))
    for level_db in LEVELS_DB:
        samples = spoken * 10 ** (level_db / 20)
        cells = []
        for name, subtype in ENCODINGS:
            error = PcmDecoder(name, 1).push(encoded(samples, subtype))[0] - samples
            cells.append(f"{10 * np.log10(np.mean(samples**2) / np.mean(error**2)):.0f} dB")
        lines.append(f"| {level_db} dB of full scale | " + " | ".join(cells) + " |")
    return lines


def resamplers() -> list[str]:
    """Two of the rates of docs/performance.md."""
    lines = [
        "| to 16 kHz from | resampler | delay | ripple to 0.45 | images | aliases |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for rate, name, delay_ms, _, ripple, images, aliases, _ in quality.rows():
        if rate not in SHOWN_HZ or name not in ("voxgate polyphase", "soxr HQ"):
            continue
        cells = (delay_ms + " ms", ripple + " dB", images + " dB", aliases + " dB" if aliases != "-" else "")
        lines.append(f"| {rate} Hz | {'Voxgate' if name.startswith('voxgate') else name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    for draw in (aliasing, polyphase, response, delay):
        draw()
    sections.put(PAGE, "figures: audio encodings", "\n".join(encodings()))
    sections.figures("audio", PAGE, "\n".join(resamplers()), soxr=soxr.__version__)


if __name__ == "__main__":
    main()
