"""The openai SDK, pipecat's and livekit's services of OpenAI, and curl, unchanged, against a real server.

The recognizer's answer to one phrase of `demo` at 24 kHz depends on what shares its batch, on the native wire too:
where texts are compared at 24 kHz, the recording is `reading`.
"""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from compat.conftest import KEY, Recording, native_segments
from helpers.uploads import wav
from helpers.wire import Client, of_type, pieces, start
from helpers.wires import words_of_length
from voxgate import InferenceError, recordings
from voxgate.audio import read_audio
from voxgate.audio.soxr import resample

RATE = 24_000  # OpenAI's: the services resample everything else themselves


@pytest.fixture(scope="session")
def speech24(speech_server, tmp_path_factory):
    """A bundled recording at the rate of OpenAI's API."""
    made = {}

    def get(name):
        if name not in made:
            planes, rate = read_audio(recordings.path(name))
            samples = np.clip(np.round(resample(planes, rate, RATE)[0] * 32768), -32768, 32767).astype("<i2")
            path = tmp_path_factory.mktemp("speech24") / f"{name}.raw"
            path.write_bytes(samples.tobytes())
            made[name] = Recording(path, RATE, native_segments(speech_server, path, RATE))
        return made[name]

    return get


def manual_texts(server, path):
    """What the native wire says when nothing is cut before the end."""
    with Client(server.url(), additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
        client.send(start(RATE, segmentation="manual"), *pieces(path.read_bytes(), 9600))
        client.send({"request": "stop", "disconnect": True})
        return [segment["text"] for segment in of_type(client.rest(), "segment")]


@pytest.mark.parametrize(("name", "rate"), [("demo", 16_000), ("reading", RATE)])
def test_realtime(run_sdk, speech_server, speech, speech24, name, rate):
    spoken = speech24(name) if rate == RATE else speech(name)
    found = run_sdk(
        *("openai", "openai_realtime", speech_server, spoken.path), rate=rate, n_finals=len(spoken.segments)
    )
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == spoken.texts
    spans = [(final["start"], final["end"]) for final in found["finals"]]
    expected = [(segment["start_time"], segment["end_time"]) for segment in spoken.segments]
    np.testing.assert_allclose(spans, expected, atol=0.002)
    for final in found["finals"]:
        assert final["seconds"] == pytest.approx(final["end"] - final["start"], abs=0.002)
        assert final["deltas"] in ("", final["text"]) or not final["text"].startswith(final["deltas"])
    assert found["events"][:2] == ["session.created", "session.updated"]


def test_realtime_without_turn_detection(run_sdk, speech_server, speech24):
    """A commit each 5 s, and nothing else cuts."""
    spoken = speech24("demo")
    found = run_sdk("openai", "openai_realtime", speech_server, spoken.path, rate=RATE, n_finals=3, manual=True)
    assert found["errors"] == []
    assert [final["seconds"] for final in found["finals"]] == pytest.approx([5.0, 5.0, 2.5], abs=0.01)
    assert not [kind for kind in found["events"] if "speech" in kind]


def test_realtime_one_bad_utterance(run_sdk, serve, talk):
    def model(audio):
        if len(audio) == 80_000:  # the script commits each 5 s
            raise InferenceError("not this one")
        return words_of_length(audio)

    server = serve(model)
    found = run_sdk("openai", "openai_realtime", server, talk, n_finals=2, manual=True)
    assert [final.get("error") for final in found["finals"]] == ["not this one", None]
    assert found["errors"] == []


every_sdk = pytest.mark.parametrize(
    ("environment", "script", "options"),
    [
        ("openai", "openai_realtime", {"n_finals": 1}),
        ("openai", "openai_files", {}),
        ("livekit", "livekit_stt", {"service": "openai"}),
        ("pipecat", "pipecat_stt", {"service": "openai", "n_finals": 1}),
    ],
)


@every_sdk
def test_a_wrong_key(run_sdk, speech_server, speech, environment, script, options):
    found = run_sdk(environment, script, speech_server, speech("demo").path, key="another", **options)
    assert found["finals"] == []
    assert "401" in found["errors"][0]


@every_sdk
def test_a_full_server(run_sdk, full_server, talk, environment, script, options):
    found = run_sdk(environment, script, full_server, talk, **options)
    assert found["finals"] == []
    assert "503" in found["errors"][0]


def test_livekit(run_sdk, speech_server, speech24):
    spoken = speech24("reading")
    found = run_sdk(
        *("livekit", "livekit_stt", speech_server, spoken.path),
        **{"rate": RATE, "service": "openai", "n_finals": len(spoken.segments)},
    )
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == spoken.texts
    assert found["interims"]


def test_livekit_whole(run_sdk, speech_server, speech24):
    spoken = speech24("reading")
    found = run_sdk("livekit", "livekit_stt", speech_server, spoken.path, rate=RATE, service="openai", whole=True)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == [" ".join(spoken.texts)]


def test_pipecat(run_sdk, speech_server, speech24):
    """It cuts by its own detector, and commits."""
    spoken = speech24("demo")
    found = run_sdk("pipecat", "pipecat_stt", speech_server, spoken.path, rate=RATE, service="openai", n_finals=1)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == manual_texts(speech_server, spoken.path)
    assert found["interims"]


def test_files(run_sdk, speech_server, speech):
    path, text = recordings.path("demo"), " ".join(speech("demo").texts)
    found = run_sdk("openai", "openai_files", speech_server, path, models=True)
    assert (found["errors"], found["finals"]) == ([], [{"text": text}])
    assert found["facts"]["models"] == ["moonshine"]
    assert found["facts"]["usage"] == {"type": "duration", "seconds": 12.5}


def test_files_in_other_formats(run_sdk, speech_server, speech):
    path, spoken = recordings.path("demo"), speech("demo")
    found = run_sdk(
        *("openai", "openai_files", speech_server, path),
        **{"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]},
    )
    assert found["facts"]["kind"] == "TranscriptionVerbose"
    assert [segment["text"] for segment in found["facts"]["segments"]] == spoken.texts
    assert [word["word"] for word in found["facts"]["words"]] == " ".join(spoken.texts).split()
    for response_format in ("text", "srt", "vtt"):
        found = run_sdk("openai", "openai_files", speech_server, path, response_format=response_format)
        assert found["facts"]["kind"] == "str"
        assert all(text in found["finals"][0]["text"] for text in spoken.texts)


def test_files_as_a_stream(run_sdk, speech_server, speech):
    text = " ".join(speech("demo").texts)
    found = run_sdk("openai", "openai_files", speech_server, recordings.path("demo"), stream=True)
    assert found["errors"] == []
    assert ("".join(found["interims"]), found["finals"]) == (text, [{"text": text}])
    assert found["events"] == ["transcript.text.delta"] * len(speech("demo").texts) + ["transcript.text.done"]


def test_curl(speech_server, speech, tmp_path):
    """As its users type it: the file first."""
    spoken = speech("demo")
    (tmp_path / "talk.wav").write_bytes(wav(spoken.path.read_bytes()))
    command = ["curl", "-s", "-H", f"Authorization: Bearer {KEY}", speech_server.http("/v1/audio/transcriptions")]
    command += ["-F", f"file=@{tmp_path / 'talk.wav'}", "-F", "model=whisper-1"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert json.loads(done.stdout)["text"] == " ".join(spoken.texts)


def test_curl_live(speech_server, speech):
    spoken = speech("demo")
    url = speech_server.http("/api/v1/segmented?sample_rate=16000")
    command = ["curl", "-sNT", "-", "-H", f"Authorization: Bearer {KEY}", url]
    with open(spoken.path, "rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=True, timeout=120)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert of_type(events, "segment") == spoken.segments
