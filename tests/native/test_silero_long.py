"""Hours of audio through one detector, faster than real time: the last hour is heard like the first."""

import os

import numpy as np
import soundfile

from voxgate import recordings
from voxgate._native import isa
from voxgate._native.silero import SileroDetector, SileroNetwork
from voxgate.vad.weights import load_weights

RATE = 16000
FRAME = 512
# The portable kernel is several times slower than the others: an hour has to do.
HOURS = float(os.environ.get("VOXGATE_TEST_HOURS", "1" if isa.active() == "portable" else "4"))
BLOCK_S = 600
MERGE_FRAMES = 19


def speech_runs(probabilities):
    """(first frame, frame after the last) of every run at or above 0.5; gaps up to 0.6 s are closed."""
    runs = []
    for frame in np.flatnonzero(probabilities >= 0.5):
        if runs and frame - runs[-1][1] < MERGE_FRAMES:
            runs[-1][1] = frame + 1
        else:
            runs.append([frame, frame + 1])
    return runs


def test_four_hours():
    talk = soundfile.read(recordings.path("demo"), dtype="float32", always_2d=True)[0][:, 0]
    said = recordings.truth("demo")[0]
    block_frames = BLOCK_S * RATE // FRAME
    n_blocks = round(HOURS * 3600 / BLOCK_S)
    rng = np.random.default_rng(11)
    # Ten minutes of what hours of a line consist of: hiss that comes and goes, hum, digital silence.
    t = np.arange(block_frames * FRAME) / RATE
    background = rng.standard_normal(len(t)).astype(np.float32) * 0.003 * (1 + np.sin(2 * np.pi * t / 97))
    background += 0.004 * np.sin(2 * np.pi * 50 * t)
    background[300 * RATE : 420 * RATE] = 0
    background = background.astype(np.float32)

    network = SileroNetwork(load_weights())
    detector = SileroDetector(network)
    rounding = {"float32": 1e-4, "int16": 1e-3}[network.precision]
    heard = []
    for block in range(n_blocks):
        # Once at another time in every block, in hiss; and once at the same time, in silence.
        starts = [FRAME * (1000 + 37 * block), FRAME * 10_000]
        audio = background.copy()
        for start in starts:
            audio[start : start + len(talk)] += talk
        probabilities = detector.probabilities(audio[None])[0]
        found = speech_runs(probabilities)
        for start in starts:
            near = range(start // FRAME, (start + len(talk)) // FRAME + 20)
            relative = [(a - near.start, b - near.start) for a, b in found if a in near]
            heard.append((block, starts.index(start), relative, probabilities[near.start : near.stop]))
        # Nothing is heard but what was said.
        assert sum(len(runs) for _, _, runs, _ in heard[-2:]) == len(found)

    for _, which, runs, probabilities in heard:
        assert len(runs) == len(said)
        for (first, last), words in zip(runs, said, strict=True):
            assert abs(first * FRAME / RATE - words.start_s) < 0.2
            assert abs(last * FRAME / RATE - words.end_s) < 0.3
        # Every block like the first one; the hiss under the words differs, what comes before the silence does not.
        _, _, first_runs, first_probabilities = heard[which]
        assert np.abs(np.array(runs) - np.array(first_runs)).max() <= (2 if which == 0 else 0)
        if which == 1:
            assert np.abs(probabilities - first_probabilities).max() < rounding
