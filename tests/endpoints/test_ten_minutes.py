"""Ten minutes of human speech, sent at full speed, have the same transcript on every API: the bundled recording, again
and again, with interims that are revised, results without words, and finals that come after the next speech began.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from helpers.http_client import HttpClient, http_stream
from helpers.uploads import wav
from helpers.wire import encode, of_type, pieces, start, stream
from helpers.wires import TEXTS, mostly_words, say
from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.testing import LocalServer, serving

LENGTH_S = 600
PIECE_BYTES = 24_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    planes, rate = read_audio(recordings.path("demo"))
    assert rate == 16_000
    return np.resize(planes[0], LENGTH_S * rate)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    # A client that a busy machine holds up must not cut speech.
    with serving(
        mostly_words,
        {"vad.stall_flush_ms": 0, "limits.idle_timeout_s": 300, "limits.recording_bytes": 2**26, "grpc.port": 0},
    ) as server:
        yield server


@pytest.fixture(scope="module")
def native(server: LocalServer, speech: np.ndarray) -> list[str]:
    events = stream(server.url(), start(interim_results=True), *pieces(encode(speech), PIECE_BYTES))
    texts = [event["text"] for event in of_type(events, "segment") if event["is_final"]]
    assert len(texts) > LENGTH_S / 5
    assert len([text for text in texts if text]) < len(texts)
    return texts


def spoken(texts: list[str]) -> list[str]:
    return [text for text in texts if text]


@pytest.mark.parametrize("api", TEXTS)
def test_one_channel(server, speech, native, api):
    texts = TEXTS[api](server, pieces(encode(speech), PIECE_BYTES))
    assert spoken(texts) == spoken(native)
    if api in ("native", "live http", "deepgram", "deepgram, recording", "assemblyai"):
        assert texts == native  # with the empty ones


@pytest.fixture(scope="module")
def stereo(speech: np.ndarray) -> bytes:
    """The second channel is the first one, 5 s later."""
    return encode(np.stack([speech, np.roll(speech, 80_000)]))


@pytest.fixture(scope="module")
def native_stereo(server: LocalServer, stereo: bytes) -> list[list[str]]:
    events = stream(server.url(), start(channels=2), *pieces(stereo, PIECE_BYTES))
    finals = of_type(events, "segment")
    channels = [[event["text"] for event in finals if event["channel"] == channel] for channel in (0, 1)]
    assert all(len(texts) > LENGTH_S / 5 for texts in channels)
    return channels


def test_two_channels_over_deepgram(server, stereo, native_stereo):
    url = f"ws://127.0.0.1:{server.port}/v1/listen?encoding=linear16&sample_rate=16000&channels=2&multichannel=true"
    answers = say(f"{url}&interim_results=true", *pieces(stereo, PIECE_BYTES), {"type": "CloseStream"})
    finals = [result for result in of_type(answers, "Results") if result["is_final"]]
    assert all(result["channel_index"][1] == 2 for result in finals)
    texts = [
        [
            result["channel"]["alternatives"][0]["transcript"]
            for result in finals
            if result["channel_index"][0] == channel
        ]
        for channel in (0, 1)
    ]
    assert texts == native_stereo


def test_two_channels_of_a_recording(server, stereo, native_stereo):
    with HttpClient(server.port).post("/v1/listen") as client:
        for piece in pieces(wav(stereo, channels=2), PIECE_BYTES):
            client.audio(piece)
        client.end()
        channels = client.answer()[2]["results"]["channels"]
    assert [channel["alternatives"][0]["transcript"] for channel in channels] == [
        " ".join(spoken(texts)) for texts in native_stereo
    ]


def test_two_channels_over_plain_http(server, stereo, native_stereo):
    path = "/api/v1/segmented?sample_rate=16000&channels=2"
    finals = of_type(http_stream(server.port, path, pieces(stereo, PIECE_BYTES)), "segment")
    assert [[event["text"] for event in finals if event["channel"] == channel] for channel in (0, 1)] == native_stereo
