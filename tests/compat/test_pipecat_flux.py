"""pipecat's service of Deepgram's Flux, with eager ends of turn, unchanged, against a real server."""

from __future__ import annotations

import itertools


def test_turns_at_live_pace(run_sdk, speech_server, speech):
    spoken = speech("demo")
    options = {"service": "flux", "n_finals": len(spoken.texts), "pace_s": 0.02}
    found = run_sdk("pipecat", "pipecat_stt", speech_server, spoken.path, **options)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == spoken.texts
    assert all(final["finalized"] for final in found["finals"])
    turns = found["facts"]["turns"]
    assert [text for event, text in turns if event == "EndOfTurn"] == spoken.texts
    eager = [f"eager: {text}" for event, text in turns if event == "EagerEndOfTurn"]
    assert found["events"] == eager
    assert set(eager) & {f"eager: {text}" for text in spoken.texts}
    for (before, text), (event, ended) in itertools.pairwise(turns):
        assert event != "TurnResumed" or before == "EagerEndOfTurn"
        assert (before, event) != ("EagerEndOfTurn", "EndOfTurn") or text == ended


def test_a_configure_while_audio_comes(run_sdk, speech_server, speech):
    """The session begins again within the audio, so that the words may differ; the turns do not."""
    spoken = speech("demo")
    options = {"service": "flux", "n_finals": len(spoken.texts), "eot_threshold": 0.9}
    found = run_sdk("pipecat", "pipecat_stt", speech_server, spoken.path, **options)
    assert found["errors"] == []
    assert len(found["finals"]) == len(spoken.texts)
    assert all(final["text"] for final in found["finals"])


def test_a_wrong_key(run_sdk, speech_server, speech):
    options = {"service": "flux", "n_finals": 1, "settle_s": 5.0}
    found = run_sdk("pipecat", "pipecat_stt", speech_server, speech("demo").path, key="another", **options)
    assert found["finals"] == []
    assert any("401" in error for error in found["errors"])


def test_a_full_server(run_sdk, full_server, talk):
    found = run_sdk("pipecat", "pipecat_stt", full_server, talk, service="flux", n_finals=1, settle_s=5.0)
    assert any("503" in error for error in found["errors"])
