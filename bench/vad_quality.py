"""How well the detectors tell speech from what is not speech, as a Markdown table.

    python bench/vad_quality.py [--detectors silero energy]

The bundled recordings (with known utterances) are laid into different surroundings, and `voxgate.vad.segments` cuts
them with default settings but without padding before the start, so that its segments are comparable with the truth.

missed    seconds of speech outside every segment
false     seconds of no speech inside a segment, beyond what is owed: pauses shorter than the silence that ends a
          segment, and one frame at either end, are nobody's fault
"""

import argparse
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from voxgate import recordings as speech
from voxgate.audio.soxr import resample
from voxgate.vad.config import VadConfig
from voxgate.vad.offline import segments

Audio = NDArray[np.float32]
RATE = 16_000
STEP_S = 0.01
CONFIG = VadConfig(prefix_padding_ms=0)
EDGE_S = 0.064
SEED = 7


def pink(n: int, rng: np.random.Generator) -> Audio:
    """Pink noise, standard deviation 1, from 20 Hz on."""
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    noise = np.fft.irfft(np.where(frequency < 20, 0, spectrum / np.sqrt(np.maximum(frequency, 20))), n)
    return np.asarray(noise / noise.std(), np.float32)


def music(n: int, rng: np.random.Generator) -> Audio:
    """Something like music, peak 1: chords of decaying, harmonic notes over a bass, two chords a second."""
    t = np.arange(RATE) / RATE
    out = np.zeros(n + RATE, np.float32)
    chords = [(0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14)]
    for beat, start in enumerate(range(0, n, RATE // 2)):
        chord = chords[beat // 4 % 4]
        for note in (*chord, chord[0] - 12, chord[rng.integers(3)] + 12):
            f = 261.63 * 2 ** (note / 12)
            for k in range(1, 6):
                out[start : start + RATE] += np.sin(2 * np.pi * k * f * t) * np.exp(-t * (3 + k)) / k
    return np.asarray(out[:n] / np.abs(out[:n]).max(), np.float32)


def knocks(n: int, rng: np.random.Generator) -> Audio:
    """Somebody at a door, peak about 1: groups of three dull thuds, a group every 2.5 s, loudness as it comes."""
    t = np.arange(RATE // 5) / RATE
    out = np.zeros(n + RATE, np.float32)
    for group in range(RATE // 2, n, 5 * RATE // 2):
        for knock in range(3):
            start = group + int(RATE * 0.25 * knock + rng.integers(RATE // 50))
            thud = sum(
                np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) * np.exp(-t * d) for f, d in ((110, 35), (240, 50))
            )
            click = rng.standard_normal(len(t)) * np.exp(-t * 300)
            out[start : start + len(t)] += (0.4 * thud + 0.5 * click) * rng.uniform(0.3, 1.0)
    return out[:n]


def level(samples: Audio, like: float) -> Audio:
    return (samples * (like / max(float(np.sqrt(np.mean(samples**2))), 1e-9))).astype(np.float32)


def recordings() -> Iterator[tuple[Audio, list[tuple[float, float]]]]:
    """The bundled mono recordings without noise of their own, at 16 kHz, with when somebody speaks."""
    for name in ("demo", "telephone"):
        samples, rate = soundfile.read(speech.path(name), dtype="float32", always_2d=True)
        audio = samples[:, 0] if rate == RATE else resample(samples[:, 0], rate, RATE)
        yield audio, [(words.start_s, words.end_s) for words in speech.truth(name)[0]]


def talk(seconds: float) -> tuple[Audio, list[tuple[float, float]]]:
    """Bundled speech one after another, with 4 s of nothing in between, for about `seconds`."""
    parts: list[Audio] = []
    said: list[tuple[float, float]] = []
    n = 0
    while n < seconds * RATE:
        for audio, words in recordings():
            gap = np.zeros(4 * RATE, np.float32)
            said += [(start + n / RATE + 4, end + n / RATE + 4) for start, end in words]
            parts += [gap, audio]
            n += len(gap) + len(audio)
    return np.concatenate(parts), said


def mask(spans: list[tuple[float, float]], n: int, grow_s: float = 0.0, close_s: float = 0.0) -> NDArray[np.bool_]:
    """One value per 10 ms, true inside a span; gaps up to `close_s` filled, then both ends grown by `grow_s`."""
    out = np.zeros(n, bool)
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start - joined[-1][1] <= close_s:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    for start, end in joined:
        out[max(0, round((start - grow_s) / STEP_S)) : max(0, round((end + grow_s) / STEP_S))] = True
    return out


def score(audio: Audio, said: list[tuple[float, float]], detector: str) -> tuple[float, float]:
    """(missed, false) seconds."""
    n = round(len(audio) / RATE / STEP_S)
    found = mask(segments(audio, RATE, CONFIG, detector), n)
    owed = mask(said, n)
    allowed = mask(said, n, EDGE_S, CONFIG.silence_duration_ms / 1000)
    return float((owed & ~found).sum() * STEP_S), float((found & ~allowed).sum() * STEP_S)


def scenes() -> Iterator[tuple[str, Audio, list[tuple[float, float]]]]:
    """Name, audio, truth. The signal of an SNR is the speech where somebody speaks."""
    rng = np.random.default_rng(SEED)
    voice, said = talk(60)
    n = len(voice)
    speaking = np.repeat(mask(said, round(n / RATE / STEP_S) + 1), round(STEP_S * RATE))[:n]
    speech_level = float(np.sqrt(np.mean(voice[speaking] ** 2)))
    mixed = 0.5 * knocks(n, rng) + level(music(n, rng), speech_level * 0.2) + level(pink(n, rng), speech_level * 0.1)
    others: list[tuple[str, Audio]] = [
        ("nothing else", np.zeros(n, np.float32)),
        ("pink noise, 20 dB SNR", level(pink(n, rng), speech_level * 10 ** (-20 / 20))),
        ("pink noise, 5 dB SNR", level(pink(n, rng), speech_level * 10 ** (-5 / 20))),
        ("music, 10 dB SNR", level(music(n, rng), speech_level * 10 ** (-10 / 20))),
        ("door knocks", 0.5 * knocks(n, rng)),
        ("knocks, music and noise", mixed),
    ]
    for name, other in others:
        yield f"speech + {name}", np.clip(voice + other, -1, 1), said
    for name, other in others[2:5]:
        yield f"{name.split(',')[0]} alone", other, []
    yield "digital silence", np.zeros(n, np.float32), []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", default=["silero", "energy"])
    detectors: list[str] = parser.parse_args().detectors
    head = [f"{detector}: {what}" for detector in detectors for what in ("missed", "false")]
    print("| scene | speech of total | " + " | ".join(head) + " |")
    print("|---|---|" + "---:|" * len(head))
    totals = np.zeros(len(head))
    for name, audio, said in scenes():
        row = [seconds for detector in detectors for seconds in score(audio, said, detector)]
        totals += row
        spoken = sum(end - start for start, end in said)
        cells = " | ".join(f"{value:.1f} s" for value in row)
        print(f"| {name} | {spoken:.0f} of {len(audio) / RATE:.0f} s | {cells} |")
    print("| **all** | | " + " | ".join(f"**{value:.1f} s**" for value in totals) + " |")


if __name__ == "__main__":
    main()
