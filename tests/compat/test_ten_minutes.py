"""Ten minutes of human speech, as fast as SDKs send them: the texts of the native wire, none lost and none twice."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.wire import encode, of_type, pieces, start, stream
from helpers.wires import mostly_words
from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.testing import serving

LENGTH_S = 600


@pytest.fixture(scope="module")
def server():
    settings = {"vad.stall_flush_ms": 0, "limits.idle_timeout_s": 300, "limits.start_timeout_s": 300}
    with serving(mostly_words, settings) as server:
        yield server


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    planes, rate = read_audio(recordings.path("demo"))
    path = tmp_path_factory.mktemp("long") / "speech.raw"
    path.write_bytes(encode(np.resize(planes[0], LENGTH_S * rate)))
    return path


@pytest.fixture(scope="module")
def texts(server, speech):
    events = stream(server.url(), start(), *pieces(speech.read_bytes(), 32_000))
    found = [event["text"] for event in of_type(events, "segment") if event["text"]]
    assert len(found) > LENGTH_S / 5
    return found


@pytest.mark.parametrize(
    ("environment", "script", "options"),
    [
        ("deepgram", "deepgram_sdk", {"pace_s": 0}),
        ("assemblyai", "assemblyai_sdk", {}),
        ("openai", "openai_realtime", {"pace_s": 0}),
    ],
)
def test_texts(run_sdk, server, speech, texts, environment, script, options):
    if environment == "openai":
        options = {**options, "n_finals": len(texts)}
    found = run_sdk(environment, script, server, speech, **options)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"] if final["text"]] == texts
    assert found["interims"]
