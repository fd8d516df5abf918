"""livekit's STT plugins, unchanged, against a real server."""

from __future__ import annotations

import numpy as np
import pytest

SERVICES = ["deepgram", "assemblyai"]


@pytest.mark.parametrize("service", SERVICES)
def test_transcripts_and_times(run_sdk, speech_server, speech, service):
    spoken = speech("reading")
    found = run_sdk("livekit", "livekit_stt", speech_server, spoken.path, service=service)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == spoken.texts
    spans = [(final["start"], final["end"]) for final in found["finals"]]
    expected = [(segment["start_time"], segment["end_time"]) for segment in spoken.segments]
    np.testing.assert_allclose(spans, expected, atol=0.01)
    assert found["events"].count("start_of_speech") == found["events"].count("end_of_speech")
    assert found["interims"]


def test_a_whole_recording(run_sdk, speech_server, speech):
    """livekit sends a WAV file to Deepgram's prerecorded API."""
    spoken = speech("reading")
    found = run_sdk("livekit", "livekit_stt", speech_server, spoken.path, service="deepgram", whole=True)
    assert found["errors"] == []
    (final,) = found["finals"]
    assert final["text"] == " ".join(spoken.texts)
    assert final["start"] == pytest.approx(spoken.segments[0]["start_time"], abs=0.5)
    assert final["end"] <= spoken.duration_s


def test_a_flush_is_answered(run_sdk, speech_server, speech, five_seconds):
    spoken = speech("demo")
    found = run_sdk("livekit", "livekit_stt", speech_server, five_seconds, flush=True, service="deepgram")
    assert found["errors"] == []
    assert found["finals"][0]["text"] == spoken.texts[0]
    assert len(found["finals"]) == 2


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_key(run_sdk, speech_server, speech, service):
    found = run_sdk("livekit", "livekit_stt", speech_server, speech("demo").path, key="another", service=service)
    assert found["finals"] == []
    assert len(found["errors"]) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_full_server(run_sdk, full_server, talk, service):
    found = run_sdk("livekit", "livekit_stt", full_server, talk, service=service)
    assert found["finals"] == []
    assert len(found["errors"]) == 1
