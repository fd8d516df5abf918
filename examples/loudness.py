"""A function as a model: how loud is each utterance, in LUFS?

Serve it from this folder, and stream something to it:

    voxgate serve --model loudness:loudness
    voxgate client -i demo

What comes back, once for each utterance:

    {"type": "segment", "start_time": 0.104, "end_time": 3.168, "is_final": true,
     "lufs": -21.5, "rms_dbfs": -21.2, "peak_dbfs": -1.9, "gain_db": -1.5, "channel": 0}

Loudness is what a listener hears of a level: ITU-R BS.1770 (its unit is LUFS, loudness units below full scale) weighs
frequencies first, because an ear cares little for a rumble and much for 2 kHz. ``gain_db`` is what would bring the
utterance to a target, an argument of the function:

    voxgate serve --model loudness:loudness --set model.target_lufs=-16

It is the loudness of all that it gets: of BS.1770's gates, which leave out pauses, there are none. So the silence that
the server keeps before an utterance counts; ``voxgate client -i demo --vad prefix_padding_ms=0`` leaves it out.

Worth a look: the whole model is a function of the audio. The spectrum weighs the utterance as a whole, which spares the
two filters, and their state; that works because an utterance comes in one piece.
"""

from __future__ import annotations

import numpy as np

from voxgate import InferenceError

RATE = 16_000
FLOOR_DB = -120.0

# The two filters of BS.1770, given there for 48 kHz: a shelf (the head), then a high-pass (the ear). Numerator and
# denominator of each.
K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
FILTER_RATE = 48_000


def loudness(audio: np.ndarray, *, target_lufs: float = -23.0) -> dict[str, float]:
    """audio: float32, shape (samples,), -1..1: one utterance, of one channel."""
    if len(audio) < RATE // 10:
        raise InferenceError(f"too short for a loudness: {len(audio) / RATE * 1000:.0f} ms, expected 100 or more")
    samples = audio.astype(np.float64)
    # Parseval: the mean square of a signal is the sum of its power spectrum, and there a filter is a multiplication.
    power = np.abs(np.fft.rfft(samples)) ** 2
    power[1 : (len(samples) + 1) // 2] *= 2  # for the negative frequencies; 0 Hz and half the rate stand alone
    power /= len(samples) ** 2
    lufs = decibels(np.sum(power * k_weights(len(power), len(samples)))) - 0.691
    return {
        "lufs": round(lufs, 1),
        "rms_dbfs": round(decibels(np.sum(power)), 1),
        "peak_dbfs": round(decibels(np.max(np.abs(samples)) ** 2), 1),
        "gain_db": round(target_lufs - lufs, 1),
    }


loudness.sample_rate = RATE  # Hz: what clients send is resampled to it


def k_weights(n_bins: int, n_samples: int) -> np.ndarray:
    """What the two filters make of the power at each frequency of the spectrum of `n_samples`."""
    z = np.exp(-2j * np.pi * np.arange(n_bins) * (RATE / n_samples / FILTER_RATE))
    gain = 1.0
    for (b0, b1, b2), (a0, a1, a2) in K_WEIGHTING:
        gain = gain * np.abs((b0 + b1 * z + b2 * z**2) / (a0 + a1 * z + a2 * z**2)) ** 2
    return np.asarray(gain)


def decibels(power: float) -> float:
    return float(10 * np.log10(max(power, 10 ** (FLOOR_DB / 10))))
