"""Which tests see which mistakes of a streaming audio server.

    python docs/figures/testing.py

Breaks the way from the wire to the voice-activity detector in five ways, and holds each against three tests: a
recording in messages of 20 ms, any cuts at all (hypothesis), and the number of samples of the output. Writes
docs/images/testing-seams.svg, and the table into docs/series/9-testing.md.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tools", "tests", "src")]

import numpy as np
import plots
import sections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference.resample_ref import output_length
from voxgate._native.event import VadEvent
from voxgate._native.session import VadSession
from voxgate.audio.decoder import StreamDecoder
from voxgate.audio.soxr import resample
from voxgate.protocol.formats import AudioFormat
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector

PAGE = ROOT / "docs/series/9-testing.md"
FORMAT = AudioFormat(channels=1, sample_rate=48_000, bit_depth=16, is_float=False)
MODEL_RATE = 16_000
MESSAGE_BYTES = 48_000 // 50 * 2
EXAMPLES = 150


def pcm(samples: np.ndarray) -> bytes:
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


# The way of the audio, and mistakes on it


class Whole:
    """As it is: the decoder, then a session of the detector. What it heard, as text."""

    def __init__(self) -> None:
        self.decoder = StreamDecoder(FORMAT, MODEL_RATE)
        detector = DETECTOR.create(1)
        rules = VadConfig(silence_duration_ms=200, prefix_padding_ms=100).to_endpoint(
            detector.frame_samples, MODEL_RATE, interims=False
        )
        self.session = VadSession(detector, rules)

    def decode(self, data: bytes) -> np.ndarray:
        return self.decoder.push(data)

    def tail(self) -> np.ndarray:
        return self.decoder.finish()

    def feed(self, planes: np.ndarray) -> Sequence[VadEvent]:
        return self.session.feed(planes)

    def hear(self, messages: Sequence[bytes]) -> list[tuple[Any, ...]]:
        events: list[VadEvent] = []
        for message in messages:
            events += self.feed(self.decode(message))
        events += [*self.session.feed(self.tail()), *self.session.finish()]
        return [
            (event.kind, event.start_pos, event.end_pos, None if event.audio is None else event.audio.tobytes())
            for event in events
        ]


class ResamplesEachMessage(Whole):
    def decode(self, data: bytes) -> np.ndarray:
        return resample(pcm_decoder(self).push(data), FORMAT.sample_rate, MODEL_RATE)

    def tail(self) -> np.ndarray:
        return resample(pcm_decoder(self).finish(), FORMAT.sample_rate, MODEL_RATE)


class DropsHalfASample(Whole):
    def decode(self, data: bytes) -> np.ndarray:
        return self.decoder.push(data[: len(data) // 2 * 2])


class LosesTheTail(Whole):
    def tail(self) -> np.ndarray:
        return np.empty((1, 0), np.float32)


class OneTransitionAMessage(Whole):
    def feed(self, planes: np.ndarray) -> Sequence[VadEvent]:
        return self.session.feed(planes)[-1:]


class ForgetsEmptyMessages(Whole):
    """Takes "no bytes" for the end of the stream, as a file does."""

    over = False

    def decode(self, data: bytes) -> np.ndarray:
        self.over = self.over or not data
        return self.decoder.push(b"" if self.over else data)


def pcm_decoder(broken: Whole) -> Any:
    if not hasattr(broken, "pcm"):
        broken.pcm = StreamDecoder(FORMAT, FORMAT.sample_rate)  # type: ignore[attr-defined]
    return broken.pcm  # type: ignore[attr-defined]


MISTAKES: dict[str, type[Whole]] = {
    "resamples each message by itself": ResamplesEachMessage,
    "drops the odd byte at the end of a message": DropsHalfASample,
    "never asks the resampler for its tail": LosesTheTail,
    "sees at most one change a message": OneTransitionAMessage,
    "takes an empty message for the end": ForgetsEmptyMessages,
}
DETECTOR = load_detector("energy")


def recording() -> bytes:
    """Somebody says something short, twice."""
    time_s = np.arange(int(1.6 * 48_000)) / 48_000
    buzz = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 12))
    speaks = ((time_s > 0.3) & (time_s < 0.6)) | ((time_s > 1.1) & (time_s < 1.4))
    return pcm(0.2 * buzz * speaks + 1e-3 * np.random.default_rng(1).standard_normal(len(time_s)))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    return [data[a:b] for a, b in itertools.pairwise([0, *sorted(places), len(data)])]


def by_messages(kind: type[Whole], data: bytes, expected: list[Any]) -> bool:
    """Whether the customary test sees it."""
    return kind().hear(cut(data, range(MESSAGE_BYTES, len(data), MESSAGE_BYTES))) != expected


def by_property(kind: type[Whole], data: bytes, expected: list[Any]) -> tuple[int | None, str]:
    """How many examples it takes, and the smallest one that is left in the end."""
    tried, first = 0, None

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.integers(0, len(data)), max_size=20))
    def cuts_change_nothing(places: list[int]) -> None:
        nonlocal tried, first
        tried += 1
        if kind().hear(cut(data, places)) != expected:
            first = first or tried
            raise AssertionError

    try:
        cuts_change_nothing()
    except AssertionError as error:
        example = re.search(r"places=(\[.*?\])", " ".join(getattr(error, "__notes__", [])), re.DOTALL)
        return first, re.sub(r",\s*\]", "]", re.sub(r"\s+", " ", example[1])) if example else ""
    return None, ""


def by_length(kind: type[Whole], data: bytes) -> bool:
    """Whether an oracle sees it that knows no more than how long the result must be."""
    broken = kind()
    messages = cut(data, range(MESSAGE_BYTES, len(data), MESSAGE_BYTES))
    n_samples = sum(broken.decode(message).shape[1] for message in messages) + broken.tail().shape[1]
    return n_samples != output_length(len(data) // 2, FORMAT.sample_rate, MODEL_RATE)


def mistakes() -> list[str]:
    data = recording()
    assert len(Whole().hear([data])) == 4  # two utterances, each with a begin and an end
    columns = ("what is broken", "20 ms messages = whole file", "any cuts = whole file", "smallest cuts that show it")
    lines = ["| " + " | ".join((*columns, "as long as it must be")) + " |", "|---|---|---|---|---|"]
    for name, kind in {"nothing": Whole, **MISTAKES}.items():
        expected = kind().hear([data])
        first, example = by_property(kind, data, expected)
        cells = (
            "**no**" if by_messages(kind, data, expected) else "yes",
            f"**no**: example {first}" if first else f"yes: {EXAMPLES} examples",
            f"`{example}`" if example else "",
            "**no**" if by_length(kind, data) else "yes",
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


# What a seam looks like


def draw() -> None:
    time_s = np.arange(4800) / 48_000
    data = pcm(0.5 * np.sin(2 * np.pi * 440 * time_s + 0.5))
    messages = cut(data, range(MESSAGE_BYTES, len(data), MESSAGE_BYTES))

    def heard(kind: type[Whole], messages: Sequence[bytes]) -> np.ndarray:
        broken = kind()
        return np.concatenate([*(broken.decode(message) for message in messages), broken.tail()], axis=1)[0]

    whole, ours = heard(Whole, [data]), heard(Whole, messages)
    seams, alone = heard(ResamplesEachMessage, messages), heard(ResamplesEachMessage, [data])
    figure, (near, all_) = plots.pyplot().subplots(
        1, 2, figsize=plots.size(2.9), layout="constrained", width_ratios=[2, 3]
    )
    ms = np.arange(len(whole)) / MODEL_RATE * 1000
    near.plot(ms, alone, color=plots.OURS, marker=".", linewidth=1.2, label="whole file")
    near.plot(ms, seams, color=plots.WAITS, marker=".", linewidth=1.2, label="20 ms messages")
    near.set_xlim(19.2, 20.8)
    near.set_title("a tone, each message resampled by itself", fontsize=9)
    near.set_ylabel("amplitude")
    near.set_xlabel("ms; dotted: the messages' edges")
    near.legend(loc="upper left", fontsize=8)
    for axes in (near, all_):
        for edge_ms in range(20, 100, 20):
            axes.axvline(edge_ms, color=plots.OUTSIDE, linewidth=0.8, linestyle=":")

    def db(difference: np.ndarray) -> np.ndarray:
        return 20 * np.log10(np.maximum(np.abs(difference), 1e-6))

    all_.plot(ms, db(seams - alone), color=plots.WAITS, linewidth=1.2, label="each message by itself")
    all_.plot(ms, db(ours - whole), color=plots.OURS, linewidth=1.6, label="Voxgate's stream: none at all")
    all_.set_title("difference between whole and 20 ms messages", fontsize=9)
    all_.set_ylabel("dB")
    all_.set_xlabel("ms")
    all_.set_ylim(-124, 42)
    all_.legend(loc="upper right", fontsize=8)
    plots.save(figure, "testing-seams")


def main() -> None:
    draw()
    sections.figures("testing", PAGE, "\n".join(mistakes()))


if __name__ == "__main__":
    main()
