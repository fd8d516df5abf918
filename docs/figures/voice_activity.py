"""The pictures and measured tables of the chapter on voice activity.

    python docs/figures/voice_activity.py

Pictures go to docs/images/voice-*, tables into docs/series/5-voice-activity.md. The scenes, and what counts as missed
or false, are those of bench/vad_quality.py; the picture of the recordings is drawn as `voxgate vad --plot` draws.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

import plots
import sections

pyplot = plots.pyplot()
pyplot.rcParams["axes.titlesize"] = 9

import numpy as np
import soundfile
import vad_quality as quality

from voxgate import recordings as speech
from voxgate._native.energy import EnergyDetector
from voxgate._native.event import SPEECH_END, SPEECH_START
from voxgate._native.session import VadSession
from voxgate.cli.meter import Envelope
from voxgate.cli.plot import Picture
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector
from voxgate.vad.offline import segments, speech_probabilities

PAGE = ROOT / "docs" / "series" / "5-voice-activity.md"
RATE = 16_000
OUTLINE = 250  # points of a waveform
Samples = Any


def recording(name: str) -> Samples:
    samples, rate = soundfile.read(speech.path(name), dtype="float32")
    assert rate == RATE
    return samples


def decibels(samples: Samples) -> Samples:
    """The level of each frame of 20 ms, dB of full scale."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    return 10 * np.log10(np.var(frames, axis=1) + 1e-12)


# ------------------------------------------------------------------------------------------------------- pictures


def recordings() -> None:
    """The same conversation clean, in noise, and 40 dB quieter: waveform, probabilities, segments and the truth."""
    scenes = [
        ("clean", recording("demo")),
        ("noise, 9 dB SNR", recording("noisy")),
        ("40 dB quieter", 0.01 * recording("demo")),
    ]
    envelopes = [Envelope(OUTLINE) for _ in scenes]
    for envelope, (_, samples) in zip(envelopes, scenes, strict=True):
        envelope.push(samples)
    picture = Picture("", envelopes, RATE)
    config = VadConfig(prefix_padding_ms=0)
    twins = []
    for row, (axes, (name, samples)) in enumerate(zip(picture.rows, scenes, strict=True)):
        axes.set_ylabel(name)
        axes.set_ylim(-1.2, 1)
        axes.grid(False)
        picture.bands(row, segments(samples, RATE, config), "segments (silero)")
        said = [(words.start_s, words.end_s) for words in speech.truth("demo")[0]]
        spans = (
            (0.92, plots.INK, "somebody speaks", said),
            (-1.08, plots.WAITS, "segments (energy)", segments(samples, RATE, config, "energy")),
        )
        for level, colour, label, found in spans:
            for start, end in found:
                axes.plot((start, end), (level, level), color=colour, linewidth=4, solid_capstyle="butt", label=label)
                label = None
        twin = axes.twinx()
        twin.grid(False)
        for detector, colour, width in (("energy", plots.WAITS, 0.7), ("silero", plots.OURS, 1.1)):
            values = speech_probabilities(samples, RATE, detector)
            frame_s = load_detector(detector).frame_samples / RATE
            times = (np.arange(len(values)) + 0.5) * frame_s
            twin.plot(times, values, color=colour, linewidth=width, label=f"probability ({detector})")
        twin.set_ylim(-0.1, 1)
        twin.set_yticks([0, 0.5, 1])
        twin.spines["right"].set_visible(True)
        twins.append(twin)
    handles = [handle for axes in (picture.rows[0], twins[0]) for handle in axes.get_legend_handles_labels()[0]]
    figure = picture.rows[0].figure
    figure.set_size_inches(plots.size(6.5))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8)
    plots.save(figure, "voice-recordings")


def floor() -> None:
    """The energy detector: a fan is switched on in the middle of a conversation."""
    rng = np.random.default_rng(quality.SEED)
    samples = recording("demo").copy()
    at = int(6.4 * RATE)
    samples[at:] += quality.level(quality.pink(len(samples) - at, rng), 0.012)
    detector = EnergyDetector()
    floors, values = [], []
    for start in range(0, len(samples) - 319, 320):
        values.append(detector.probabilities(samples[None, start : start + 320])[0, 0])
        floors.append(detector.floor_db[0])
    times = (np.arange(len(values)) + 0.5) * 0.02
    figure, panels = pyplot.subplots(2, 1, figsize=plots.size(4), sharex=True, layout="constrained")
    panels[0].plot(times, decibels(samples), color=plots.OUTSIDE, linewidth=0.8, label="level of 20 ms")
    panels[0].plot(times, floors, color=plots.OURS, linewidth=1.8, label="noise floor")
    panels[0].set(ylim=(-85, 0), ylabel="dB of full scale")
    panels[0].annotate("a fan starts", (6.4, -40), (5.4, -62), arrowprops={"arrowstyle": "->", "color": plots.INK})
    panels[1].plot(times, values, color=plots.OURS, linewidth=0.9, label="probability of speech")
    for index, words in enumerate(speech.truth("demo")[0]):
        label = None if index else "somebody speaks"
        panels[1].axvspan(words.start_s, words.end_s, color="tab:green", alpha=0.2, linewidth=0, label=label)
    panels[1].set(xlim=(0, times[-1]), ylim=(0, 1.35), yticks=[0, 0.5, 1], xlabel="s")
    for panel in panels:
        panel.legend(loc="upper right", fontsize=8, ncols=2)
    plots.save(figure, "voice-floor")


class Heard(NamedTuple):
    """A segment, in seconds, and what had been received when its start and its end were decided."""

    start_s: float
    end_s: float
    started_s: float
    ended_s: float


def hear(samples: Samples, config: VadConfig) -> list[Heard]:
    """The segments of a stream that is fed frame by frame, so that it is known when each was decided."""
    detector = load_detector("silero").create(1)
    n_frame = detector.frame_samples
    session = VadSession(detector, config.to_endpoint(n_frame, RATE))
    found: list[Heard] = []
    started_pos = 0
    for start in range(0, len(samples) + n_frame, n_frame):
        piece = samples[None, start : start + n_frame]
        for event in session.feed(piece) if piece.shape[1] else session.finish():
            if event.kind == SPEECH_START:
                started_pos = event.end_pos
            elif event.kind == SPEECH_END:
                positions = (event.start_pos, event.end_pos, started_pos, session.received_pos)
                found.append(Heard(*(pos / RATE for pos in positions)))
    return found


def utterance() -> None:
    """One utterance of the clean recording with all that the rules say of it."""
    samples, config = recording("demo"), VadConfig()
    heard = hear(samples, config)[1]
    values = speech_probabilities(samples, RATE)
    frame_s = 0.032
    first_s = heard.start_s + config.prefix_padding_ms / 1000
    begin_s, stop_s = heard.start_s - 0.35, heard.ended_s + 0.3
    seen = slice(int(begin_s * RATE), int(stop_s * RATE))
    figure, panels = pyplot.subplots(
        2, 1, figsize=plots.size(4.6), sharex=True, layout="constrained", height_ratios=[1, 1.5]
    )
    outline = Envelope(OUTLINE)
    outline.push(samples[seen])
    times, lows, highs = outline.curve(RATE)
    panels[0].fill_between(times + begin_s, lows, highs, color=plots.OUTSIDE, linewidth=0)
    panels[0].axvspan(heard.start_s, heard.end_s, color="tab:green", alpha=0.2, linewidth=0)
    panels[0].text((heard.start_s + heard.end_s) / 2, 0.72, "what the model gets", ha="center", fontsize=8)
    panels[0].set(ylim=(-0.9, 0.9), yticks=[])
    panels[1].stairs(values, np.arange(len(values) + 1) * frame_s, color=plots.OURS, linewidth=1.2)
    edge = {"color": plots.INK, "linewidth": 0.8}
    panels[1].axhline(config.threshold, linestyle="--", **edge)
    panels[1].axhline(config.negative_threshold, linestyle=":", **edge)
    panels[1].text(stop_s, config.threshold + 0.02, "threshold", ha="right", fontsize=8)
    panels[1].text(stop_s, config.negative_threshold - 0.07, "negative_threshold", ha="right", fontsize=8)
    for axes in panels:
        for time, colour in (
            (heard.start_s, "tab:green"),
            (heard.end_s, "tab:green"),
            (heard.started_s, plots.WAITS),
            (heard.ended_s, plots.WAITS),
        ):
            axes.axvline(time, color=colour, linewidth=1.2)
    spans = (
        (heard.start_s, first_s, 1.10, "prefix_padding_ms"),
        (first_s, heard.started_s, 1.24, "min_speech_ms"),
        (heard.end_s, heard.ended_s, 1.10, "silence_duration_ms"),
    )
    for start, end, level, name in spans:
        arrow = {"arrowstyle": "<->", "color": plots.INK, "shrinkA": 0, "shrinkB": 0}
        panels[1].annotate("", (start, level), (end, level), arrowprops=arrow)
        panels[1].text((start + end) / 2, level + 0.03, name, ha="center", fontsize=8)
    for time, name in ((heard.started_s, "active is sent"), (heard.ended_s, "inactive is sent")):
        panels[1].text(time, -0.12, name, ha="center", va="top", fontsize=8, color="#b45309")
    panels[1].set(xlim=(begin_s, stop_s), ylim=(-0.25, 1.42), yticks=[0, 0.5, 1], xlabel="s")
    panels[1].set_ylabel("probability")
    plots.save(figure, "voice-utterance")


# --------------------------------------------------------------------------------------------------------- tables

SILENCES_MS = (100, 200, 300, 400, 600, 800, 1000, 1500)
TABLED_MS = (200, 400, 600, 1000)
NOISY = ("pink noise, 5 dB SNR", "music, 10 dB SNR", "knocks, music and noise")


class Cut(NamedTuple):
    silence_ms: int
    n_segments: int
    n_split: int
    n_merged: int
    wait_s: float


def silences() -> tuple[int, list[Cut]]:
    """Clean speech with pauses: what the silence that ends a segment does to the segments, and how long one waits."""
    samples, said = quality.talk(60)
    cuts = []
    for silence_ms in SILENCES_MS:
        config = VadConfig(prefix_padding_ms=0, silence_duration_ms=silence_ms)
        found = hear(samples, config)
        touched = [[h for h in found if h.start_s < end and h.end_s > start] for start, end in said]
        within = [[s for s in said if h.start_s < s[1] and h.end_s > s[0]] for h in found]
        waits = [
            h.ended_s - words[-1][1]
            for h, words in zip(found, within, strict=True)
            if words and h.end_s >= words[-1][1] - 0.1
        ]
        cuts.append(
            Cut(
                silence_ms,
                len(found),
                sum(len(hits) > 1 for hits in touched),
                sum(len(words) > 1 for words in within),
                float(np.median(waits)),
            )
        )
    return len(said), cuts


def trade(n_said: int, cuts: list[Cut]) -> None:
    figure, axes = pyplot.subplots(figsize=plots.size(2.8), layout="constrained")
    silence_ms = [cut.silence_ms for cut in cuts]
    axes.plot(silence_ms, [cut.n_split for cut in cuts], color=plots.WAITS, marker="o", label="utterances torn apart")
    axes.plot(
        silence_ms, [cut.n_merged for cut in cuts], color=plots.OUTSIDE, marker="o", label="segments with more than one"
    )
    axes.set(xlabel="vad.silence_duration_ms", ylabel=f"of {n_said} utterances", ylim=(-0.3, None))
    other = axes.twinx()
    other.grid(False)
    other.spines["right"].set_visible(True)
    other.plot(silence_ms, [cut.wait_s * 1000 for cut in cuts], color=plots.OURS, marker="o", label="wait for the end")
    other.set(ylabel="last word to inactive, ms", ylim=(0, None))
    handles = [line for ax in (axes, other) for line in ax.get_lines()]
    axes.legend(handles=handles, loc="upper center", fontsize=8)
    plots.save(figure, "voice-trade")


def silence_table(n_said: int, cuts: list[Cut]) -> list[str]:
    lines = [
        f"| `silence_duration_ms` | segments, of {n_said} utterances | torn apart | run together | "
        "last word to `inactive` |",
        "|---:|---:|---:|---:|---:|",
    ]
    for cut in cuts:
        if cut.silence_ms in TABLED_MS:
            cells = (cut.silence_ms, cut.n_segments, cut.n_split, cut.n_merged, f"{cut.wait_s * 1000:.0f} ms")
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def threshold_table() -> list[str]:
    """Missed and false seconds by threshold, in scenes of bench/vad_quality.py."""
    scenes = [scene for scene in quality.scenes() if scene[0] != "digital silence"]
    noisy = [scene for scene in scenes if scene[0].removeprefix("speech + ") in NOISY]
    lines = [f"| `threshold` | {' | '.join(NOISY)} | nobody speaks |", "|---:" * (len(NOISY) + 2) + "|"]
    for threshold in (0.2, 0.5, 0.9):
        quality.CONFIG = VadConfig(prefix_padding_ms=0).changed(threshold=threshold, negative_threshold=threshold * 0.7)
        cells = []
        for _, audio, said in noisy:
            missed_s, false_s = quality.score(audio, said, "silero")
            cells.append(f"{missed_s:.1f} / {false_s:.1f} s")
        alone = sum(quality.score(audio, said, "silero")[1] for _, audio, said in scenes if not said)
        lines.append(f"| {threshold} | " + " | ".join(cells) + f" | {alone:.1f} s |")
    return lines


def main() -> None:
    for draw in (recordings, floor, utterance):
        draw()
    n_said, cuts = silences()
    trade(n_said, cuts)
    sections.figures("voice_activity", PAGE, "\n".join(silence_table(n_said, cuts)))
    sections.put(PAGE, "figures: voice_activity threshold", "\n".join(threshold_table()))


if __name__ == "__main__":
    main()
