"""Makes the bundled speech in ``src/voxgate/recordings``: FLAC files and ``truth.json``, who speaks when and what.

    python tools/make_speech.py [--output DIR]

Needs espeak-ng on the path; the bundled files were made by espeak-ng 1.51. With the same espeak-ng the samples come out
identical: the synthesiser is deterministic, and every noise comes from a seeded generator. Another version speaks a
little differently: look at the new truth and run the tests before committing its files.

The truth is measured, not planned: each utterance is synthesised alone, and its audible onset and offset are the first
and last 5 ms window whose level is within ``AUDIBLE_DB`` of the utterance's loudest one, taken from the clean signal
before any mixing.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

ESPEAK_NG_VERSION = "1.51"
DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "src" / "voxgate" / "recordings"
AUDIBLE_DB = 40.0
WINDOW_S = 0.005
SPEECH_LEVEL_DBFS = -20.0

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One utterance: `start_s` is where its audible onset goes on its channel."""

    start_s: float
    voice: str
    text: str


@dataclass(frozen=True)
class Recording:
    """One file: lines per channel, its rate, length and background."""

    name: str
    sample_rate: int
    duration_s: float
    channels: tuple[tuple[Line, ...], ...]
    seed: int
    room_dbfs: float = -66.0
    snr_db: float | None = None
    telephone: bool = False


MALE = "en-us"
FEMALE = "en-gb+f3"
DEEP = "en-us+m3"

DIALOGUE = (
    Line(0.70, MALE, "Good morning! Did the boat arrive?"),
    Line(4.05, FEMALE, "Yeah, and everybody liked it."),
    Line(7.05, MALE, "Wonderful, let me look around."),
    Line(10.80, FEMALE, "Welcome aboard."),
)

RECORDINGS = (
    Recording("demo", 16_000, 12.5, (DIALOGUE,), seed=1),
    Recording(
        "stereo",
        44_100,
        8.0,
        (
            (
                Line(0.60, MALE, "Are you ready to begin the interview?"),
                Line(5.00, MALE, "Where did you grow up?"),
            ),
            (
                Line(2.00, FEMALE, "Yeah, I am ready. Go on and ask me."),
                Line(5.95, FEMALE, "On an old boat."),
            ),
        ),
        seed=2,
        room_dbfs=-78.0,
    ),
    Recording("noisy", 16_000, 12.5, (DIALOGUE,), seed=8, snr_db=9.0),
    Recording(
        "telephone",
        8_000,
        5.6,
        (
            (
                Line(0.80, MALE, "I would like to book a boat."),
                Line(3.70, DEEP, "Let me look it up."),
            ),
        ),
        seed=4,
        room_dbfs=-60.0,
        telephone=True,
    ),
)


def espeak(voice: str, text: str) -> tuple[Samples, int]:
    """Clean speech, float64 in -1..1, and its sample rate."""
    command = ["espeak-ng", "-v", voice, "-s", "150", "-z", "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    # On a pipe espeak-ng cannot go back to fill in the data length: take the rate, then everything after the header.
    with soundfile.SoundFile(io.BytesIO(wav)) as file:
        rate = int(file.samplerate)
    data = wav[wav.index(b"data") + 8 :]
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float64) / 32768.0, rate


def audible_range(speech: Samples, rate: int) -> tuple[int, int]:
    """First and one past the last sample of the windows a listener hears."""
    window = round(rate * WINDOW_S)
    n_windows = -(-len(speech) // window)
    padded = np.zeros(n_windows * window)
    padded[: len(speech)] = speech
    level = np.sqrt(np.mean(padded.reshape(n_windows, window) ** 2, axis=1))
    audible = np.flatnonzero(level >= level.max() * 10 ** (-AUDIBLE_DB / 20))
    return int(audible[0]) * window, min((int(audible[-1]) + 1) * window, len(speech))


def pink_noise(n_samples: int, generator: np.random.Generator) -> Samples:
    """Noise whose power falls by 3 dB an octave (flat below 50 Hz of 16 kHz), RMS 1."""
    spectrum = np.fft.rfft(generator.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples)
    spectrum /= np.sqrt(np.maximum(frequency, 50 / 16_000))
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, n_samples)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def band_pass(signal: Samples, rate: int, low_hz: float, high_hz: float) -> Samples:
    """A telephone line: raised-cosine edges of 100 Hz, zero phase."""
    frequency = np.fft.rfftfreq(len(signal), 1 / rate)
    rise = np.clip((frequency - low_hz) / 100 + 0.5, 0, 1)
    fall = np.clip((high_hz - frequency) / 100 + 0.5, 0, 1)
    gain = (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * gain, len(signal)))


def lay_channel(recording: Recording, lines: Sequence[Line]) -> tuple[Samples, list[dict[str, Any]], float]:
    """Clean channel, its truth, and the mean power of its audible speech."""
    rate = recording.sample_rate
    channel = np.zeros(round(recording.duration_s * rate))
    truth: list[dict[str, Any]] = []
    energy, n_audible = 0.0, 0
    for line in lines:
        clean, espeak_rate = espeak(line.voice, line.text)
        speech = np.asarray(soxr.resample(clean, espeak_rate, rate, "VHQ"), dtype=np.float64)
        if recording.telephone:
            speech = band_pass(speech, rate, 300, 3400)
        onset, offset = audible_range(speech, rate)
        speech *= 10 ** (SPEECH_LEVEL_DBFS / 20) / np.sqrt(np.mean(speech[onset:offset] ** 2))
        speech *= min(1.0, 0.8 / float(np.abs(speech).max()))
        begin = round(line.start_s * rate) - onset
        channel[begin : begin + len(speech)] += speech
        energy += float(np.sum(speech[onset:offset] ** 2))
        n_audible += offset - onset
        truth.append(
            {
                "start_s": round((begin + onset) / rate, 3),
                "end_s": round((begin + offset) / rate, 3),
                "text": line.text,
                "voice": line.voice,
            }
        )
    return channel, truth, energy / n_audible


def make(recording: Recording) -> tuple[npt.NDArray[np.int16], list[list[dict[str, Any]]]]:
    """Samples, int16 (frames, channels), and the truth of each channel."""
    generator = np.random.default_rng(recording.seed)
    channels, truths = [], []
    for lines in recording.channels:
        clean, truth, power = lay_channel(recording, lines)
        noise = pink_noise(len(clean), generator)
        if recording.snr_db is None:
            noise *= 10 ** (recording.room_dbfs / 20)
        else:
            noise *= np.sqrt(power) * 10 ** (-recording.snr_db / 20)
        channels.append(clean + noise)
        truths.append(truth)
    mixed = np.stack(channels, axis=1) * 32767
    if np.abs(mixed).max() > 32767:
        raise AssertionError(f"{recording.name} clips")
    return np.rint(mixed).astype(np.int16), truths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="directory for the files")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    banner = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"text-to-speech: (\S+)", banner)
    version = found.group(1) if found else "unknown"
    if version != ESPEAK_NG_VERSION:
        print(f"espeak-ng {version}: the bundled files were made by {ESPEAK_NG_VERSION}", file=sys.stderr)
    place = args.output / "truth.json"
    before = json.loads(place.read_text())["files"] if place.exists() else {}
    files: dict[str, Any] = {}
    total_bytes = 0
    for recording in RECORDINGS:
        samples, truth = make(recording)
        path = args.output / f"{recording.name}.flac"
        soundfile.write(path, samples, recording.sample_rate, subtype="PCM_16", compression_level=1.0)
        files[recording.name] = {
            "sample_rate": recording.sample_rate,
            "duration_s": recording.duration_s,
            "channels": truth,
        }
        total_bytes += path.stat().st_size
        print(f"{path.name:16} {path.stat().st_size / 1024:6.0f} KiB  {recording.duration_s:5.1f} s")
    document = {"made_by": f"espeak-ng {version}, tools/make_speech.py", "files": files}
    made = {recording.name for recording in RECORDINGS}
    files |= {name: entry for name, entry in before.items() if name not in made}  # those of other tools
    place.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{'together':16} {total_bytes / 1024:6.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
