"""The assemblyai SDK, unchanged, against a real server."""

from __future__ import annotations

import pytest

from helpers.wires import failing_first


def test_transcripts_and_times(run_sdk, speech_server, speech):
    for name in ("demo", "reading"):
        spoken = speech(name)
        found = run_sdk("assemblyai", "assemblyai_sdk", speech_server, spoken.path)
        assert found["errors"] == []
        assert [final["text"] for final in found["finals"]] == spoken.texts
        assert [final["order"] for final in found["finals"]] == list(range(len(spoken.texts)))
        for final, segment in zip(found["finals"], spoken.segments, strict=True):
            assert " ".join(word for word, _, _ in final["words"]) == final["text"]
            assert segment["start_time"] - 0.002 <= final["start"] <= final["end"] <= segment["end_time"] + 0.002
        assert (found["events"][0], found["events"][-1]) == ("Begin", "Termination")
        assert found["facts"]["duration"] == pytest.approx(spoken.duration_s, abs=1)


def test_a_flush_is_answered(run_sdk, speech_server, speech, five_seconds):
    spoken = speech("demo")
    found = run_sdk("assemblyai", "assemblyai_sdk", speech_server, five_seconds, flush=True)
    assert found["errors"] == []
    said = " ".join(final["text"] for final in found["finals"])
    assert said.startswith(spoken.texts[0])
    assert len(said) > len(spoken.texts[0])
    assert len(found["finals"]) in (1, 2)  # the model may be behind: then all that is open ends as one turn


def test_a_wrong_key(run_sdk, speech_server, speech):
    found = run_sdk("assemblyai", "assemblyai_sdk", speech_server, speech("demo").path, key="another")
    (error,) = found["errors"]
    assert error.startswith("401:")


def test_a_full_server(run_sdk, full_server, talk):
    found = run_sdk("assemblyai", "assemblyai_sdk", full_server, talk)
    (error,) = found["errors"]
    assert error.startswith("503:")


def test_one_utterance_that_fails(run_sdk, serve, talk):
    server = serve(
        failing_first(), **{"inference.warm_up": False, "vad.speculate_ms": 0, "vad.interim_interval_ms": 60_000}
    )
    found = run_sdk("assemblyai", "assemblyai_sdk", server, talk)
    assert found["errors"] == ["inference_failed: not this one"]
    assert [bool(final["text"]) for final in found["finals"]] == [False, True]
