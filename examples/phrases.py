"""A batched model: which of a few phrases is it, known from one recording of each?

Serve it from this folder, and stream a recording to it in which the phrases come again, under noise:

    voxgate serve --model phrases:Phrases
    voxgate client -i noisy

What comes back, once for each utterance:

    {"type": "segment", "start_time": 10.216, "end_time": 11.84, "is_final": true,
     "phrase": "Welcome aboard.", "distance": 0.24, "channel": 0}

Without options it knows what the bundled recording ``demo`` says. Your own phrases are sound files in a folder, one
each, named like the phrase (``lights on.wav``):

    voxgate serve --model phrases:Phrases --set model.folder=mine --set model.largest_distance=0.25

The method is the one that voice dialling in telephones had: a spectrum every 20 ms for what was said and for each
example, and then the cheapest way to stretch and squeeze the one into the other (dynamic time warping). It needs no
training and follows one voice; of another voice, or of many phrases, it knows little.

Worth a look: ``infer_batch``. The warping goes through the frames of the examples one after the other, in Python, and
each step costs mostly the calls of NumPy, however long the arrays are. So a step for eight utterances costs hardly more
than for one: batching across streams pays. The features are made for each utterance by itself, so that an answer does
not depend on who shares its batch. How much it pays here says

    OPENBLAS_NUM_THREADS=1 voxgate models check phrases:Phrases

where the variable keeps NumPy's matrix products from starting threads of their own: Voxgate runs calls beside each
other already, and more threads than cores are in each other's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import voxgate
from voxgate import recordings
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample

RATE = 16_000
HOP, WINDOW = 320, 512  # samples: a frame every 20 ms, of 32 ms
N_BANDS = 24


class Phrases(voxgate.Model):
    sample_rate = RATE

    def __init__(self, folder: str | None = None, largest_distance: float = 0.3) -> None:
        """folder: holds a sound file for each phrase. largest_distance: 0..2; what is farther from every phrase is
        none of them.
        """
        examples = bundled() if folder is None else from_folder(Path(folder))
        self.largest_distance = largest_distance
        self.phrases = [phrase for phrase, _ in examples]
        frames = [features(audio) for _, audio in examples]
        self.lengths = np.array([len(one) for one in frames])
        self.frames = np.concatenate(frames)  # of all phrases, end to end
        self.starts = np.cumsum(self.lengths) - self.lengths

    def infer(self, audio: np.ndarray) -> dict[str, Any]:
        return self.answers([audio])[0]

    def infer_batch(self, batch: voxgate.Batch) -> list[dict[str, Any]]:
        return self.answers(list(batch))  # the rows without their padding

    def answers(self, items: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        distances = self.warp([features(item) for item in items])
        found = []
        for row in distances:
            best = int(np.argmin(row))
            known = bool(row[best] <= self.largest_distance)
            found.append({"phrase": self.phrases[best] if known else None, "distance": round(float(row[best]), 3)})
        return found

    def warp(self, heard: Sequence[np.ndarray]) -> np.ndarray:
        """How far each item is from each phrase, float32 (items, phrases): the mean distance of the phrase's frames
        from the frames of the item that fit best, in order. The phrase may begin and end anywhere in the item.
        """
        width = max(len(item) for item in heard)
        # (frames of all phrases, items, frames of an item); what is behind the end of an item fits nothing.
        costs = np.full((len(self.frames), len(heard), width), np.inf, np.float32)
        for i, item in enumerate(heard):
            costs[:, i, : len(item)] = 1 - self.frames @ item.T  # their cosine distance
        totals = np.full((len(heard), len(self.phrases)), np.inf, np.float32)
        # All phrases at once as long as they last: the state of phrase k is (items, 2 + frames of an item), where the
        # two columns in front fit nothing.
        paths = np.full((len(self.phrases), len(heard), 2 + width), np.inf, np.float32)
        here = paths[:, :, 2:]
        here[:] = costs[self.starts]
        for j in range(1, int(self.lengths.max()) + 1):
            ended = np.flatnonzero(self.lengths == j)
            totals[:, ended] = here[ended].min(axis=2).T
            # To the next frame of the phrase belongs the same frame of the item, the next one, or the one after it.
            best = np.minimum(np.minimum(here, paths[:, :, 1:-1]), paths[:, :, :-2])
            np.add(best, costs[np.minimum(self.starts + j, len(costs) - 1)], out=here)
        return totals / self.lengths.astype(np.float32)


def features(audio: np.ndarray) -> np.ndarray:
    """float32 (frames, bands): for each frame the shape of its spectrum, as a vector of length 1. At least one."""
    n_frames = max(1, 1 + (len(audio) - WINDOW) // HOP)
    padded = np.zeros(max(len(audio), WINDOW), np.float32)
    padded[: len(audio)] = audio
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:n_frames]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32))) ** 2
    bands = np.log(power.astype(np.float32) @ BANDS + 1e-6)
    bands -= bands.mean(axis=0)  # the microphone and the room, which are the same all the time
    bands /= np.linalg.norm(bands, axis=1, keepdims=True) + 1e-6
    return bands


def triangles() -> np.ndarray:
    """float32 (bins, bands): overlapping triangles that are equally wide to the ear (the mel scale), 100 to 7000 Hz."""
    edges_hz = 700 * (np.exp(np.linspace(np.log1p(100 / 700), np.log1p(7000 / 700), N_BANDS + 2)) - 1)
    bins_hz = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    up = (bins_hz - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    down = (edges_hz[2:] - bins_hz) / np.diff(edges_hz)[1:]
    return np.clip(np.minimum(up, down), 0, None).astype(np.float32)


BANDS = triangles()


def bundled() -> list[tuple[str, np.ndarray]]:
    """What is said in the recording ``demo``, which every Voxgate brings."""
    planes, rate = read_audio(recordings.path("demo"))
    audio = resample(planes[0], rate, RATE)
    return [
        (said.text, audio[round(said.start_s * RATE) : round(said.end_s * RATE)])
        for said in recordings.truth("demo")[0]
    ]


def from_folder(folder: Path) -> list[tuple[str, np.ndarray]]:
    examples = []
    for path in sorted(folder.glob("*.wav")) + sorted(folder.glob("*.flac")):
        planes, rate = read_audio(path)
        examples.append((path.stem, resample(planes[0], rate, RATE)))
    if not examples:
        raise ValueError(f"folder {folder}: expected sound files (.wav or .flac), one for each phrase")
    return examples
