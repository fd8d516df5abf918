"""Figures of docs/series/0-the-system.md: where the time of a final goes, and what 20 ms of audio cost on each stage.

    python docs/figures/system.py

Streams the bundled speech at live pace into a server whose model takes a known time (about 15 s), then times the stages
by themselves.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import live
import plots
import sections

from voxgate import recordings, vad
from voxgate._native.session import VadSession
from voxgate.audio.decoder import StreamDecoder
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.client import AudioFormat, Stream
from voxgate.protocol.events import Inactive, Segment

PAGE = ROOT / "docs/series/0-the-system.md"
MODEL_S = 0.1
CHUNK_S = 0.02
RATE = 48_000  # Hz, of what is sent: what microphones give
FORMAT = AudioFormat(channels=1, sample_rate=RATE, bit_depth=16, is_float=False)


def wire_bytes() -> bytes:
    """The bundled speech as 16-bit samples of 48 kHz."""
    samples, rate = read_audio(recordings.path("demo"))
    return (resample(samples[0], rate, RATE) * 32_767).round().astype("<i2").tobytes()


async def hear(url: str, audio: bytes) -> tuple[list[float], list[float]]:
    """When `inactive` and the final of each utterance came, in seconds from the first sample's leaving the mouth."""
    stream = Stream(audio, addr=url, format=FORMAT, chunk_size=round(CHUNK_S * RATE) * 2, real_time=True)
    inactive_s, final_s = [], []
    began_s = 0.0
    loop = asyncio.get_running_loop()
    events = aiter(stream)
    pending = asyncio.ensure_future(anext(events))
    while not stream.sent_bytes:  # the first chunk leaves when it has been said
        await asyncio.sleep(0)
    began_s = loop.time() - stream.sent_s
    while True:
        try:
            event = await pending
        except StopAsyncIteration:
            return inactive_s, final_s
        if isinstance(event, Inactive):
            inactive_s.append(loop.time() - began_s)
        elif isinstance(event, Segment) and event.is_final:
            final_s.append(loop.time() - began_s)
        pending = asyncio.ensure_future(anext(events))


def one_call_us(function: Callable[[], object], times: int = 200) -> float:
    """The least of some runs."""
    best_s = float("inf")
    for _ in range(7):
        began_s = time.perf_counter()
        for _ in range(times):
            function()
        best_s = min(best_s, (time.perf_counter() - began_s) / times)
    return best_s * 1e6


def stage_costs(audio: bytes) -> dict[str, float]:
    """Microseconds that 20 ms of audio cost on each stage, at once and with nothing beside it."""
    n_bytes = round(CHUNK_S * RATE) * 2
    chunks = [audio[offset : offset + n_bytes] for offset in range(0, len(audio) - n_bytes, n_bytes)]
    decoder, both = StreamDecoder(FORMAT, RATE), StreamDecoder(FORMAT, 16_000)
    decode_us = one_call_us(lambda: [decoder.push(chunk) for chunk in chunks], 3) / len(chunks)
    both_us = one_call_us(lambda: [both.push(chunk) for chunk in chunks], 3) / len(chunks)
    planes = StreamDecoder(FORMAT, 16_000)
    blocks = [np.array(planes.push(chunk)) for chunk in chunks]
    detector = vad.load_detector().create(1)
    session = VadSession(detector, vad.VadConfig().to_endpoint(detector.frame_samples, 16_000))

    def detect() -> None:
        for block in blocks:
            session.feed(block)

    return {"decode": decode_us, "resample": both_us - decode_us, "detect": one_call_us(detect, 1) / len(blocks)}


def main() -> None:
    audio = wire_bytes()
    ends_s = [utterance.end_s for utterance in recordings.truth("demo")[0]]
    knobs = {"delay": MODEL_S, "constant_factor": 0, "jitter": 0, "panic_rate": 0, "warmup_penalty": 0}
    with live.server("dummy", **{f"model.{name}": value for name, value in knobs.items()}) as served:
        inactive_s, final_s = asyncio.run(hear(served.url(), audio))
    if not len(inactive_s) == len(final_s) == len(ends_s):
        raise SystemExit(f"expected {len(ends_s)} utterances, got {len(inactive_s)} and {len(final_s)} finals")
    silence_s = vad.VadConfig().silence_duration_ms / 1000
    decided_s = statistics.median(inactive - end for inactive, end in zip(inactive_s, ends_s, strict=True))
    answered_s = statistics.median(final - inactive for final, inactive in zip(final_s, inactive_s, strict=True))
    parts = [
        ("silence that must pass", silence_s, plots.WAITS),
        ("chunks, filter, frames", decided_s - silence_s, "#fcd34d"),
        ("the model", MODEL_S, plots.OURS),
        ("everything else", answered_s - MODEL_S, "#dc2626"),
    ]

    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=plots.size(1.5), layout="constrained")
    left_ms = 0.0
    for label, part_s, colour in parts:
        axes.barh(0, part_s * 1000, left=left_ms, color=colour, label=label)
        left_ms += part_s * 1000
    axes.set(xlabel="ms since the last sound of an utterance, until its final is at the client", yticks=[])
    axes.grid(axis="y", visible=False)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    plots.save(figure, "system-time")

    cost_us = stage_costs(audio)
    delay_ms = StreamDecoder(FORMAT, 16_000).delay_s * 1000
    detector = vad.load_detector()
    frame_ms = 1000 * detector.frame_samples / detector.sample_rate
    rows = [
        "| of one final, median of the bundled speech | ms |",
        "|---|---|",
        f"| silence that must pass before an utterance is over (`vad.silence_duration_ms`) | {silence_s * 1000:.0f} |",
        f"| its detection: the chunk, the filter, the frame, the last faint sounds | "
        f"{(decided_s - silence_s) * 1000:.0f} |",
        f"| the model (here: it sleeps) | {MODEL_S * 1000:.0f} |",
        f"| everything else: queue, threads, JSON, two kernels, one socket | {(answered_s - MODEL_S) * 1000:.1f} |",
        f"| **from the last sound to the final** | **{left_ms:.0f}** |",
        "",
        "| 20 ms of 48 kHz mono | waits for audio | computes |",
        "|---|---|---|",
        f"| a message is filled, at the client | {CHUNK_S * 1000:.0f} ms | |",
        f"| bytes to floats | | {cost_us['decode']:.1f} us |",
        f"| 48 to 16 kHz | {delay_ms:.1f} ms | {cost_us['resample']:.1f} us |",
        f"| is it speech? (Silero) | up to {frame_ms:.0f} ms, a frame | {cost_us['detect']:.1f} us |",
    ]
    sections.figures("system", PAGE, "\n".join(rows))


if __name__ == "__main__":
    main()
