"""examples/dtmf.py, served: every key, once, at its time, however the audio is cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.wire import STOP, Client, encode, pieces, start, stream
from voxgate import recordings
from voxgate.audio.files.read import read_audio

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 8_000
NUMBER = "0800#42*159D3A6BC7711"


def told(events: list[dict]) -> tuple[list[tuple[str, float]], str]:
    """The keys with their times, whatever calls they came from, and the closing answer."""
    *pressed, closing = events
    keys = [pair for event in pressed for pair in zip(event["keys"], event["at_s"], strict=True)]
    return keys, closing["number"]


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_every_key_is_heard_once_at_its_time(model_server, example, rate):
    module = example("dtmf")
    audio = module.dial(NUMBER)
    if rate != RATE:
        times_s = np.arange(round(len(audio) / RATE * rate)) / rate
        audio = np.interp(times_s, np.arange(len(audio)) / RATE, audio)
    server = model_server(module.Dtmf())
    keys, number = told(stream(server.url("stateful"), start(rate), encode(audio)))
    assert number == NUMBER
    assert [key for key, _ in keys] == list(NUMBER)
    assert [at_s for _, at_s in keys] == pytest.approx([0.3 + 0.14 * i for i in range(len(NUMBER))], abs=0.010)


def test_how_the_audio_is_cut_changes_nothing(model_server, example):
    """With no least length of a call, pieces of any length reach the model, also less than a window."""
    module = example("dtmf")
    audio = encode(module.dial(NUMBER))
    server = model_server(module.Dtmf(), {"simple.min_chunk_ms": 0})
    whole = told(stream(server.url("stateful"), start(RATE), audio))
    assert whole[1] == NUMBER
    for size in (33, 158, 160, 162, 510, 512, 514, 4001):
        assert told(stream(server.url("stateful"), start(RATE), *pieces(audio, size))) == whole


def test_calls_that_meet_within_a_tone(example):
    """The same without a server, where the cuts are ours: at every sample, and around the windows' bounds."""
    module = example("dtmf")
    model, audio = module.Dtmf(), module.dial("58")

    def heard(size: int) -> tuple[list[tuple[str, float]], str]:
        state = model.open()
        answers = [model.step(audio[at : at + size].copy(), state) for at in range(0, len(audio), size)]
        return told([*filter(None, answers), model.finish(state)])

    whole = heard(len(audio))
    assert [key for key, _ in whole[0]] == ["5", "8"]
    for size in (1, module.HOP - 1, module.HOP, module.HOP + 1, module.WINDOW - 1, module.WINDOW, module.WINDOW + 1):
        assert heard(size) == whole


def test_channels_and_sessions_have_numbers_of_their_own(model_server, example):
    module = example("dtmf")
    planes = np.stack([module.dial("123"), module.dial("*0#")])
    server = model_server(module.Dtmf())
    with Client(server.url("stateful")) as client:
        for _ in range(2):
            client.send(start(RATE, channels=2), encode(planes), {"request": "stop", "disconnect": False})
            numbers = {}
            while len(numbers) < 2:
                event = client.receive()
                assert event is not None
                if "number" in event:
                    numbers[event["channel"]] = event["number"]
            assert numbers == {0: "123", 1: "*0#"}
        client.send(STOP)
        assert client.rest() == []


@pytest.mark.parametrize("name", recordings.names())
def test_voices_press_no_keys(model_server, example, name):
    planes, rate = read_audio(recordings.path(name))
    server = model_server(example("dtmf").Dtmf())
    events = stream(server.url("stateful"), start(rate, channels=len(planes)), *pieces(encode(planes), 65_536))
    assert [event["number"] for event in events] == [""] * len(planes)


def test_noise_and_short_tones(example):
    """40 ms of a tone at 10 dB above the noise; and a fifth of the level."""
    module = example("dtmf")
    audio = module.dial(NUMBER, tone_s=0.04, gap_s=0.04)
    noise = 0.25 * 10 ** (-10 / 20) * np.random.default_rng(1).standard_normal(len(audio))
    for samples in (audio, audio + noise, 0.2 * (audio + noise)):
        model = module.Dtmf()
        state = model.open()
        model.step(samples.astype(np.float32), state)
        assert model.finish(state) == {"number": NUMBER}


def test_a_number_into_a_file(example, tmp_path):
    path = tmp_path / "number.wav"
    subprocess.run([sys.executable, EXAMPLES / "dtmf.py", "42#", path], check=True)
    samples, rate = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(samples, example("dtmf").dial("42#"), atol=1e-4)
    assert rate == RATE
    wrong = subprocess.run([sys.executable, EXAMPLES / "dtmf.py", "42x", path], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("usage: python dtmf.py NUMBER FILE.wav")
