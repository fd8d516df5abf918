"""pipecat's STT services in a pipeline, unchanged, against a real server."""

from __future__ import annotations

import pytest

SERVICES = ["deepgram", "assemblyai"]


@pytest.mark.parametrize("service", SERVICES)
def test_transcripts(run_sdk, speech_server, speech, service):
    spoken = speech("demo")
    options = {"service": service, "n_finals": len(spoken.texts)}
    found = run_sdk("pipecat", "pipecat_stt", speech_server, spoken.path, **options)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == spoken.texts
    # The pipeline's own voice detection stops once, at the end; the last final may have come before that.
    assert not any(final["finalized"] for final in found["finals"][:-1])


@pytest.mark.parametrize("service", ["deepgram", "assemblyai"])
def test_the_end_of_speech_is_answered(run_sdk, speech_server, speech, five_seconds, service):
    """Audio that ends within a sentence: its final comes because the pipeline's voice detection stops."""
    spoken = speech("demo")
    found = run_sdk("pipecat", "pipecat_stt", speech_server, five_seconds, service=service)
    assert found["errors"] == []
    said = " ".join(final["text"] for final in found["finals"])
    assert said.startswith(spoken.texts[0])
    assert len(said) > len(spoken.texts[0])
    # The model may be behind: AssemblyAI's API then has one turn for all that was open.
    assert [final["finalized"] for final in found["finals"]] in ([False, True], [True])


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_key(run_sdk, speech_server, speech, service):
    options = {"service": service, "n_finals": 1, "settle_s": 5.0}
    found = run_sdk("pipecat", "pipecat_stt", speech_server, speech("demo").path, key="another", **options)
    assert found["finals"] == []
    assert any("401" in error for error in found["errors"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_full_server(run_sdk, full_server, talk, service):
    found = run_sdk("pipecat", "pipecat_stt", full_server, talk, service=service, n_finals=1, settle_s=5.0)
    assert any("503" in error for error in found["errors"])
    assert not any("permanent" in error or "rejected the connection" in error for error in found["errors"])
