"""examples/phrases.py, served: each phrase is known again, and a batch says what single calls say."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import soundfile

from helpers.wire import FLUSH, STOP, Client, encode, of_type, start, stream
from voxgate import Batch, recordings
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.errors import ModelLoadError
from voxgate.models import load_model

RATE = 16_000
SAID = recordings.truth("noisy")[0]
SETTINGS = {"vad.detector": "silero"}


def utterances(name: str = "noisy") -> list[np.ndarray]:
    """Each with what the server puts before it by default."""
    planes, rate = read_audio(recordings.path(name))
    audio = resample(planes[0], rate, RATE)
    return [audio[round((one.start_s - 0.6) * RATE) : round(one.end_s * RATE)] for one in recordings.truth(name)[0]]


def test_every_phrase_is_known_again_under_noise(model_server, example):
    planes, rate = read_audio(recordings.path("noisy"))
    server = model_server(example("phrases").Phrases(), SETTINGS)
    results = of_type(stream(server.url(), start(rate), encode(planes)), "segment")
    assert [one["phrase"] for one in results] == [one.text for one in SAID]


@pytest.mark.parametrize("speed", [0.95, 1.05])
def test_a_phrase_that_is_said_faster_or_slower_is_known_too(example, speed):
    model = example("phrases").Phrases()
    items = [resample(item, RATE, round(RATE / speed)) * 0.3 for item in utterances()]
    assert [model.infer(item)["phrase"] for item in items] == [one.text for one in SAID]


def test_what_is_no_phrase_is_none(example):
    model = example("phrases").Phrases()
    noise = (0.1 * np.random.default_rng(3).standard_normal(RATE)).astype(np.float32)
    for item in (*utterances("telephone"), noise, noise[:100], noise[:0]):
        answer = model.infer(item)
        assert answer["phrase"] is None
        assert answer["distance"] > model.largest_distance


def test_a_batch_says_what_single_calls_say(example):
    model = example("phrases").Phrases()
    items = [*utterances("noisy"), *utterances("telephone"), np.zeros(100, np.float32)]
    singles = [model.infer(item) for item in items]
    assert len({one["phrase"] for one in singles}) == 5
    assert model.infer_batch(Batch.gather(items)) == singles
    assert model.infer_batch(Batch.gather(items[::-1])) == singles[::-1]
    exactly = [model.warp([example("phrases").features(item)])[0] for item in items]
    together = model.warp([example("phrases").features(item) for item in items])
    np.testing.assert_array_equal(together, exactly)


def test_streams_that_share_a_batch_get_what_each_gets_alone(model_server, example):
    begun, held, sizes = threading.Event(), threading.Event(), []

    class Held(example("phrases").Phrases):
        """Its first call waits for `held`, so that what comes meanwhile shares a batch."""

        def infer(self, audio):
            begun.set()
            assert held.wait(30)
            sizes.append(1)
            return super().infer(audio)

        def infer_batch(self, batch):
            sizes.append(len(batch))
            return super().infer_batch(batch)

    server = model_server(Held(), {**SETTINGS, "inference.threads": 1, "inference.warm_up": False})
    items = utterances() * 2
    clients = [Client(server.url()).__enter__() for _ in items]
    for client, item in zip(clients, items, strict=True):
        client.send(start(), encode(item), FLUSH)
        client.until("inactive")  # and with it, its final waits for the model
        assert begun.wait(30)
    held.set()
    results = [client.until("segment")[-1] for client in clients]
    for client in clients:
        client.send(STOP)
        assert client.rest() == []
        client.__exit__(None, None, None)
    assert sizes == [1, len(items) - 1]
    assert [one["phrase"] for one in results] == [one.text for one in SAID] * 2
    firsts, seconds = results[: len(SAID)], results[len(SAID) :]
    assert firsts == seconds


def test_phrases_of_ones_own(example, tmp_path):
    example("phrases")
    for name, item in zip(("lights on", "lights off"), utterances("demo"), strict=False):
        soundfile.write(tmp_path / f"{name}.wav", item, RATE)
    model = load_model("phrases:Phrases", {"folder": str(tmp_path)})
    assert [model.infer(item)["phrase"] for item in utterances()] == ["lights on", "lights off", None, None]


def test_a_folder_without_examples_is_told(example, tmp_path):
    example("phrases")
    with pytest.raises(ModelLoadError, match=r"expected sound files \(\.wav or \.flac\), one for each phrase"):
        load_model("phrases:Phrases", {"folder": str(tmp_path)})
