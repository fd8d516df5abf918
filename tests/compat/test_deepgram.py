"""deepgram-sdk, unchanged, against a real server."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.wires import failing_first


def test_transcripts_and_times(run_sdk, speech_server, speech):
    for name in ("demo", "reading"):
        spoken = speech(name)
        found = run_sdk("deepgram", "deepgram_sdk", speech_server, spoken.path)
        assert found["errors"] == []
        assert [final["text"] for final in found["finals"]] == spoken.texts
        spans = [(final["start"], final["end"]) for final in found["finals"]]
        expected = [(segment["start_time"], segment["end_time"]) for segment in spoken.segments]
        np.testing.assert_allclose(spans, expected, atol=0.002)
        for final in found["finals"]:
            assert " ".join(word for word, _, _ in final["words"]) == final["text"]
            times = [time for _, *span in final["words"] for time in span]
            assert times == sorted(times)
            assert final["start"] - 0.002 <= times[0] <= times[-1] <= final["end"] + 0.002
        assert found["events"].count("SpeechStarted") == len(spoken.segments)
        assert found["events"][-2:] == ["Metadata", "closed"]
        assert found["facts"]["duration"] == pytest.approx(spoken.duration_s, abs=0.01)


def test_a_flush_is_answered(run_sdk, speech_server, speech, five_seconds):
    """Audio that ends within a sentence: its final comes because the client asks for it."""
    spoken = speech("demo")
    found = run_sdk("deepgram", "deepgram_sdk", speech_server, five_seconds, flush=True)
    assert found["errors"] == []
    assert [final["from_finalize"] for final in found["finals"]] == [False, True]
    assert found["finals"][0]["text"] == spoken.texts[0]
    assert found["finals"][1]["text"]


def test_two_channels(run_sdk, speech_server, speech, tmp_path):
    spoken = speech("demo")
    mono = np.frombuffer(spoken.path.read_bytes(), "<i2")
    both = tmp_path / "stereo.raw"
    both.write_bytes(np.stack([mono, np.roll(mono, 16_000 * 6)], axis=1).tobytes())
    found = run_sdk(
        *("deepgram", "deepgram_sdk", speech_server, both),
        **{"channels": "2", "multichannel": "true"},
    )
    assert found["errors"] == []
    first = [final["text"] for final in found["finals"] if final["channel"] == 0]
    assert first == spoken.texts
    assert [final for final in found["finals"] if final["channel"] == 1]


def test_a_wrong_key(run_sdk, speech_server, speech):
    found = run_sdk("deepgram", "deepgram_sdk", speech_server, speech("demo").path, key="another")
    (error,) = found["errors"]
    assert error.startswith("ApiError 401")


def test_a_full_server(run_sdk, full_server, talk):
    found = run_sdk("deepgram", "deepgram_sdk", full_server, talk)
    (error,) = found["errors"]
    assert error.startswith("ApiError 503")


def test_one_utterance_that_fails(run_sdk, serve, talk):
    server = serve(failing_first(), **{"inference.warm_up": False, "vad.speculate_ms": 0})
    found = run_sdk("deepgram", "deepgram_sdk", server, talk, interim_results="false")
    assert found["errors"] == []
    assert "Error" in found["events"]
    assert [bool(final["text"]) for final in found["finals"]] == [False, True]
    assert all(final["speech_final"] for final in found["finals"])
