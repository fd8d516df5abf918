"""Makes tests/data/wakewords.flac, the four words of the model `wakeword` in synthetic voices (needs espeak-ng).

    python tools/make_wakewords.py

The words begin at 0.5, 3.0, 5.5 and 8.0 s; a sentence without any follows at 10.5 s. Made with espeak-ng 1.51.
"""

from __future__ import annotations

import io
import subprocess
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


def spoken(text: str, voice: str) -> np.ndarray:
    """float32 at 16 kHz."""
    command = ["espeak-ng", "--stdout", "-v", voice, "-s", "150", text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    sized = wav[:40] + (len(wav) - 44).to_bytes(4, "little") + wav[44:]  # it does not know its length when it begins
    samples, rate = soundfile.read(io.BytesIO(sized), dtype="float32")
    return soxr.resample(samples, rate, RATE)


def main() -> None:
    audio = np.zeros(round(LENGTH_S * RATE), np.float32)
    for start_s, text, voice in SAID:
        samples = spoken(text, voice)
        begin = round(start_s * RATE)
        audio[begin : begin + len(samples)] = samples
    soundfile.write(TARGET, audio, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
