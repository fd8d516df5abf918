"""pipecat's STT services in a pipeline, unchanged, against a real server."""

from __future__ import annotations

import pytest

from helpers.wire import Client
from helpers.wires import TALK, words_of_length

SERVICES = ["deepgram", "assemblyai"]


@pytest.mark.parametrize("service", SERVICES)
def test_transcripts(run_sdk, speech_server, speech, service):
    spoken = speech("demo")
    options = {"service": service, "n_finals": len(spoken.texts)}
    found = run_sdk("pipecat", "pipecat_stt", speech_server, spoken.path, **options)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == spoken.texts
    # The pipeline's own voice detection stops once, after the last word: that final answers it.
    assert [final["finalized"] for final in found["finals"]] == [False] * (len(spoken.texts) - 1) + [True]


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_key(run_sdk, speech_server, speech, service):
    options = {"service": service, "n_finals": 1, "settle_s": 5.0}
    found = run_sdk("pipecat", "pipecat_stt", speech_server, speech("demo").path, key="another", **options)
    assert found["finals"] == []
    assert any("401" in error for error in found["errors"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_full_server(run_sdk, serve, tmp_path, service):
    server = serve(words_of_length, **{"limits.streams": 1})
    (tmp_path / "talk.raw").write_bytes(TALK)
    with Client(server.url()):
        found = run_sdk(
            "pipecat", "pipecat_stt", server, tmp_path / "talk.raw", service=service, n_finals=1, settle_s=5.0
        )
    assert any("503" in error for error in found["errors"])
    assert not any("permanent" in error or "rejected the connection" in error for error in found["errors"])
