"""Makes tests/data/wakewords.flac, the four words of the model `wakeword` in synthetic voices (needs espeak-ng).

    python tools/make_wakewords.py
    python tools/make_wakewords.py --survey     # writes nothing: how many of 21 pronunciations are recognised?

The words begin at 0.5, 3.0, 5.5 and 8.0 s; a sentence without any follows at 10.5 s. Made with espeak-ng 1.51.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr

TARGET = Path(__file__).parents[1] / "tests" / "data" / "wakewords.flac"
RATE = 16_000
SAID = (
    (0.5, "okay nabu", "en-us"),
    (3.0, "hey jarvis", "en-us+f3"),
    (5.5, "hey mycroft", "en-us"),
    (8.0, "alexa", "en-us"),
    (10.5, "hey everybody, it is okay to listen now", "en-gb"),
)
LENGTH_S = 14.0


VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+m3", "en-us+m7", "en-gb-scotland", "en-us+f5")
SPEEDS = (120, 150, 180)


def spoken(text: str, voice: str, words_per_minute: int = 150) -> np.ndarray:
    """float32 at 16 kHz."""
    command = ["espeak-ng", "--stdout", "-v", voice, "-s", str(words_per_minute), text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    sized = wav[:40] + (len(wav) - 44).to_bytes(4, "little") + wav[44:]  # it does not know its length when it begins
    samples, rate = soundfile.read(io.BytesIO(sized), dtype="float32")
    return soxr.resample(samples, rate, RATE)


def survey() -> None:
    from voxgate import Request
    from voxgate.models.wakeword import WORDS, WakeWord

    model = WakeWord()
    for word in WORDS:
        found = []
        for voice in VOICES:
            for speed in SPEEDS:
                samples = spoken(word.replace("_", " "), voice, speed)
                answer = model.step(np.pad(samples, (RATE // 2, RATE)), model.open(Request()))
                found.append(answer and answer["wakeword"])
        n_right = found.count(word)
        print(f"{word}: {n_right} of {len(found)}, {len(found) - n_right - found.count(None)} as another word")


def main() -> None:
    if sys.argv[1:] == ["--survey"]:
        return survey()
    audio = np.zeros(round(LENGTH_S * RATE), np.float32)
    for start_s, text, voice in SAID:
        samples = spoken(text, voice)
        begin = round(start_s * RATE)
        audio[begin : begin + len(samples)] = samples
    soundfile.write(TARGET, audio, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
