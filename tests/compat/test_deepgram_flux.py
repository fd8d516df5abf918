"""deepgram-sdk's client of Flux, unchanged, against a real server."""

from __future__ import annotations

import numpy as np
import pytest


def test_transcripts_and_times(run_sdk, speech_server, speech):
    for name in ("demo", "reading"):
        spoken = speech(name)
        found = run_sdk("deepgram", "deepgram_flux", speech_server, spoken.path)
        assert found["errors"] == []
        assert [final["text"] for final in found["finals"]] == spoken.texts
        starts = [final["start"] for final in found["finals"]]
        np.testing.assert_allclose(starts, [segment["start_time"] for segment in spoken.segments], atol=0.002)
        for final in found["finals"]:
            assert " ".join(word for word, _, _ in final["words"]) == final["text"]
            times = [time for _, *span in final["words"] for time in span]
            assert times == sorted(times)
            assert final["start"] - 0.002 <= times[0] <= times[-1] <= final["end"] + 0.002
        assert {event for event, _ in found["facts"]["turns"]} == {"StartOfTurn", "EndOfTurn"}
        assert found["events"] == ["Connected", "ConfigureSuccess", "closed"]


def test_eager_ends_at_live_pace(run_sdk, speech_server, speech):
    """The transcripts are those without eager ends, and each follows an eager end with the same words."""
    spoken = speech("demo")
    found = run_sdk("deepgram", "deepgram_flux", speech_server, spoken.path, eager_eot_threshold=0.5, pace_s=0.1)
    assert found["errors"] == []
    assert [final["text"] for final in found["finals"]] == spoken.texts
    turns = found["facts"]["turns"]
    eager = None
    n_confirmed = 0
    for event, text in turns:
        if event == "EagerEndOfTurn":
            assert text
            assert eager is None
            eager = text
        elif event == "TurnResumed":
            assert eager is not None
            eager = None
        elif event == "EndOfTurn":
            assert eager in (None, text)
            n_confirmed += eager is not None
            eager = None
    assert n_confirmed >= 1
    # One Update in 0.25 s of audio, about; on a busy machine, fewer.
    assert spoken.duration_s < len(found["interims"]) <= 8 * spoken.duration_s


def test_a_turn_that_the_client_ends(run_sdk, speech_server, speech, five_seconds):
    """Audio that ends within a sentence: its turn ends because the client asks for it."""
    spoken = speech("demo")
    found = run_sdk("deepgram", "deepgram_flux", speech_server, five_seconds, flush=True)
    assert found["errors"] == []
    assert [final["trigger"] for final in found["finals"]] == ["model", "manual"]
    assert [final["turn_index"] for final in found["finals"]] == [0, 1]
    assert found["finals"][0]["text"] == spoken.texts[0]
    assert found["finals"][1]["text"]


def test_a_wrong_key(run_sdk, speech_server, speech):
    found = run_sdk("deepgram", "deepgram_flux", speech_server, speech("demo").path, key="another")
    (error,) = found["errors"]
    assert error.startswith("ApiError 401")


def test_a_full_server(run_sdk, full_server, talk):
    found = run_sdk("deepgram", "deepgram_flux", full_server, talk)
    (error,) = found["errors"]
    assert error.startswith("ApiError 503")


@pytest.mark.parametrize("options", [{"eot_threshold": 0.2}, {"eager_eot_threshold": 0.9}])
def test_a_threshold_out_of_range(run_sdk, speech_server, speech, options):
    found = run_sdk("deepgram", "deepgram_flux", speech_server, speech("demo").path, **options)
    (error,) = found["errors"]
    assert error.startswith("ApiError 400")
