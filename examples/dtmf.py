"""A stateful model: the keys of a telephone, read from their tones while somebody dials.

Serve it from this folder, dial a number into a sound file, and stream that to it:

    voxgate serve --model dtmf:Dtmf
    python dtmf.py '0800#42' number.wav
    voxgate client -i number.wav --addr ws://localhost:8080/api/v1/stateful --real-time

What comes back, at once when a key has been heard (``at_s``: when it was pressed, in the session), and at the end:

    {"type": "segment", "start_time": 0.0, "end_time": 0.336, "keys": ["0"], "at_s": [0.3], "channel": 0}
    {"type": "segment", "start_time": 0.336, "end_time": 0.56, "keys": ["8"], "at_s": [0.44], "channel": 0}
    ...
    {"type": "segment", "start_time": 1.232, "end_time": 1.58, "number": "0800#42", "channel": 0}

Where a segment begins and ends is up to how the audio arrived; the keys and their times are not.

Each key is two tones at once, one that tells its row and one that tells its column (DTMF, ITU-T Q.23). The model looks
at windows of 32 ms, every 10 ms, and believes a key when two windows in a row agree.

Worth a look: the state. Audio comes in pieces that are cut anywhere, also in the middle of a tone, and how they are cut
depends on how busy the server is. So the state keeps the samples that do not fill a window yet and what the last window
said, and nothing else depends on where a call begins: together, the calls say the same for any cut.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import voxgate

RATE = 8_000
WINDOW, HOP = 256, 80  # samples
ROWS_HZ, COLUMNS_HZ = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = "123A456B789C*0#D"
QUIETEST = 10 ** (-45 / 10)  # of a full scale, as power
LEAST_SHARE = 0.5  # of the window's power that its two tones must have
LARGEST_TWIST = 10 ** (8 / 10)  # between the power of the two
LEAST_LEAD = 4.0  # of a tone over the other three of its group, as power

HANN = np.hanning(WINDOW + 1)[:-1]
# Multiplied with a window of audio: how much of each of the eight tones is in it.
TONES = HANN[:, None] * np.exp(-2j * np.pi * np.outer(np.arange(WINDOW), ROWS_HZ + COLUMNS_HZ) / RATE)
# What makes of that the power which a tone has within the weighted window.
SCALE = 2 * np.sum(HANN**2) / np.sum(HANN) ** 2


class Heard:
    """What is known of one channel of one session."""

    def __init__(self) -> None:
        self.rest = np.zeros(WINDOW // 2, np.float32)  # silence before the first sample, so that a key there is heard
        self.n_windows = 0
        self.before = ""  # what the window before said: a key, or nothing
        self.pressed = ""
        self.number = ""


class Dtmf(voxgate.Model):
    sample_rate = RATE

    def open(self) -> Heard:
        return Heard()

    def step(self, audio: np.ndarray, state: Heard) -> dict[str, Any] | None:
        samples = np.concatenate([state.rest, audio])
        n_windows = max(0, (len(samples) - WINDOW) // HOP + 1)
        state.rest = samples[n_windows * HOP :].copy()
        if not n_windows:
            return None
        keys, at_s = [], []
        for key in keys_of(np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:n_windows]):
            if key == state.before and key != state.pressed:  # twice in a row
                state.pressed = key
                if key:
                    keys.append(key)
                    at_s.append(round((state.n_windows - 1) * HOP / RATE, 3))  # the middle of the first of the two
            state.before = key
            state.n_windows += 1
        state.number += "".join(keys)
        return {"keys": keys, "at_s": at_s} if keys else None

    def finish(self, state: Heard) -> dict[str, Any] | None:
        return {"number": state.number}


def keys_of(windows: np.ndarray) -> list[str]:
    """For each row the key whose tones it holds, or an empty text."""
    total = np.sum((windows * HANN) ** 2, axis=1)
    powers = SCALE * np.abs(windows @ TONES) ** 2
    loud = total > QUIETEST / 2 * np.sum(HANN**2)
    best, clear, index = [], [], []
    for group in (powers[:, :4], powers[:, 4:]):
        ranked = np.sort(group, axis=1)
        best.append(ranked[:, -1])
        clear.append(ranked[:, -1] > LEAST_LEAD * ranked[:, -2])
        index.append(np.argmax(group, axis=1))
    alike = np.maximum(*best) < LARGEST_TWIST * np.minimum(*best)
    is_key = loud & clear[0] & clear[1] & alike & (best[0] + best[1] > LEAST_SHARE * total)
    return [KEYS[4 * row + column] if yes else "" for yes, row, column in zip(is_key, *index, strict=True)]


def dial(number: str, tone_s: float = 0.08, gap_s: float = 0.06, before_s: float = 0.3) -> np.ndarray:
    """float32 (samples,) at RATE: the tones of a number."""
    time_s = np.arange(round(tone_s * RATE)) / RATE
    parts = [np.zeros(round(before_s * RATE))]
    for key in number:
        row, column = divmod(KEYS.index(key), 4)
        two = np.sin(2 * np.pi * ROWS_HZ[row] * time_s) + np.sin(2 * np.pi * COLUMNS_HZ[column] * time_s)
        parts.append(0.25 * two)
        parts.append(np.zeros(round(gap_s * RATE)))
    parts.append(np.zeros(round(before_s * RATE)))
    return np.concatenate(parts).astype(np.float32)


if __name__ == "__main__":
    import soundfile

    if len(sys.argv) != 3 or not set(sys.argv[1]) <= set(KEYS):
        sys.exit(f"usage: python dtmf.py NUMBER FILE.wav, where NUMBER is made of {' '.join(KEYS)}")
    soundfile.write(sys.argv[2], dial(sys.argv[1]), RATE)
