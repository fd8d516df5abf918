"""Hours of speech, noise, music and silence, made from the bundled recordings by stated augmentation.

Block k (60 s, 16 kHz, mono) depends on the seed and on k alone. Twelve kinds of scene take turns:

speech              utterances of the recordings, each played at 0.8 to 1.25 of its speed (pitch follows) and with a
                    level of -40 to -6 dB of full scale, 0.2 to 2.5 s apart
white, pink, brown  the same in noise of that colour, which swells and fades; SNR -5 to 25 dB
babble              the same over six others that speak at once; SNR -5 to 25 dB
music               the same over chords of decaying notes; SNR -5 to 25 dB
reverberation       the same in a room that takes 0.2 to 1 s to fall by 60 dB
telephone           the same in pink noise, 300 to 3400 Hz, in steps of 8-bit mu-law
clipped             the same in white noise, 6 to 30 dB above full scale
mixture             two at once, in a room, in pink noise
no speech           20 s each of noise, music and door knocks
silence             20 s each of zeros, of the lowest bit of 16, of hum
"""

from __future__ import annotations

from functools import cache

import numpy as np
import soundfile
from numpy.typing import NDArray
from vad_quality import knocks, music

from voxgate import recordings
from voxgate.audio.soxr import resample

Audio = NDArray[np.float32]
RATE = 16_000
BLOCK_S = 60
BLOCK_SAMPLES = BLOCK_S * RATE
SEED = 22
SLOPES = {"white": 0.0, "pink": 0.5, "brown": 1.0}
KINDS = ("speech", "white", "pink", "brown", "babble", "music", "reverberation", "telephone", "clipped", "mixture")
KINDS += ("no speech", "silence")


@cache
def utterances() -> tuple[Audio, ...]:
    """Every utterance of the bundled recordings, with 0.2 s around it."""
    found = []
    for name in recordings.names():
        samples, rate = soundfile.read(recordings.path(name), dtype="float32", always_2d=True)
        for channel, said in enumerate(recordings.truth(name)):
            audio = samples[:, channel] if rate == RATE else resample(samples[:, channel], rate, RATE)
            for words in said:
                start = max(0, round((words.start_s - 0.2) * RATE))
                found.append(np.asarray(audio[start : round((words.end_s + 0.2) * RATE)], np.float32))
    return tuple(found)


def decibels(value: float) -> float:
    return float(10 ** (value / 20))


def rms(audio: Audio) -> float:
    return float(np.sqrt(np.mean(audio.astype(np.float64) ** 2))) + 1e-9


def talk(rng: np.random.Generator, n: int = BLOCK_SAMPLES) -> Audio:
    out = np.zeros(n, np.float32)
    at = int(rng.integers(RATE))
    while at < n:
        one = utterances()[rng.integers(len(utterances()))]
        speed = rng.uniform(0.8, 1.25)
        one = np.interp(np.arange(0, len(one) - 1, speed), np.arange(len(one)), one).astype(np.float32)
        one *= decibels(rng.uniform(-40, -6)) / max(float(np.abs(one).max()), 1e-6)
        part = one[: n - at]
        out[at : at + len(part)] = part
        at += len(one) + int(rng.uniform(0.2, 2.5) * RATE)
    return out


def filtered(audio: Audio, gain: NDArray[np.float64]) -> Audio:
    return np.fft.irfft(np.fft.rfft(audio) * gain, len(audio)).astype(np.float32)


def noise(colour: str, rng: np.random.Generator, n: int = BLOCK_SAMPLES) -> Audio:
    """RMS 1 on average; its loudness goes up and down by up to 12 dB within seconds."""
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    gain = np.where(frequency < 20, 0, np.maximum(frequency, 20) ** -SLOPES[colour])
    audio = filtered(rng.standard_normal(n).astype(np.float32), gain)
    swell = decibels(1) ** (6 * np.sin(2 * np.pi * np.arange(n) / RATE / rng.uniform(3, 20) + rng.uniform(0, 6)))
    audio *= swell.astype(np.float32)
    return audio / np.float32(rms(audio))


def room(audio: Audio, rng: np.random.Generator) -> Audio:
    seconds = rng.uniform(0.2, 1.0)
    t = np.arange(round(seconds * RATE)) / RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / seconds) * 0.05
    tail[0] = 1.0
    n = len(audio) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(audio, n) * np.fft.rfft(tail, n), n)[: len(audio)]
    return wet.astype(np.float32)


def under(voice: Audio, other: Audio, rng: np.random.Generator) -> Audio:
    """`voice` with `other` at -5 to 25 dB SNR."""
    return voice + other * np.float32(rms(voice) / rms(other) / decibels(rng.uniform(-5, 25)))


def telephone(audio: Audio) -> Audio:
    frequency = np.fft.rfftfreq(len(audio), 1 / RATE)
    narrow = filtered(audio, ((frequency > 300) & (frequency < 3400)).astype(float))
    companded = np.sign(narrow) * np.log1p(255 * np.minimum(np.abs(narrow), 1)) / np.log(256)
    steps = np.round(companded * 127) / 127
    return (np.sign(steps) * (256 ** np.abs(steps) - 1) / 255).astype(np.float32)


def thirds(*parts: Audio) -> Audio:
    return np.concatenate([part[: BLOCK_SAMPLES // 3] for part in parts])


def scene(kind: str, rng: np.random.Generator) -> Audio:
    n = BLOCK_SAMPLES
    if kind == "silence":
        hum = 0.003 * np.sin(2 * np.pi * 50 * np.arange(n) / RATE).astype(np.float32)
        dither = (rng.integers(-1, 2, n) / 32768).astype(np.float32)
        return thirds(np.zeros(n, np.float32), dither, hum)
    if kind == "no speech":
        colour = ("white", "pink", "brown")[rng.integers(3)]
        parts = noise(colour, rng), music(n // 3, rng), knocks(n // 3, rng)
        return thirds(*(part * np.float32(decibels(rng.uniform(-40, -10)) / rms(part)) for part in parts))
    voice = talk(rng)
    if kind in SLOPES:
        return under(voice, noise(kind, rng), rng)
    match kind:
        case "babble":
            return under(voice, np.sum([talk(rng) for _ in range(6)], axis=0, dtype=np.float32), rng)
        case "music":
            return under(voice, music(n, rng), rng)
        case "reverberation":
            return room(voice, rng)
        case "telephone":
            return telephone(under(voice, noise("pink", rng), rng))
        case "clipped":
            return under(voice, noise("white", rng), rng) * np.float32(decibels(rng.uniform(6, 30)))
        case "mixture":
            return under(room(voice + talk(rng), rng), noise("pink", rng), rng)
    return voice


def block(k: int) -> Audio:
    """The k-th minute, within -1..1."""
    rng = np.random.default_rng([SEED, k])
    return np.clip(scene(KINDS[k % len(KINDS)], rng), -1, 1)
