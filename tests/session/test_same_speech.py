"""The same speech gives the same words and times, in whatever container it comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.demuxing import READING, slices
from helpers.wire import STOP, Client, of_type, pieces, start
from helpers.wire import encode as pcm_of
from voxgate.audio.containers.encoding import encode, encode_live
from voxgate.audio.files.read import read_audio
from voxgate.models import moonshine
from voxgate.models.loader import load_model
from voxgate.recordings import path

pytest.importorskip("av")

SECONDS = 13
MOST_DIFFERENCE_S = 0.03
# Recordings of browsers are early or late by a constant time: Chromium's microphone plays a little before it records.
MOST_OFFSET_S = 0.02
RECORDED_S = (18.2, 29.6)
FILES = ("wav", "flac", "webm", "ogg", "mp3", "mp4")


@pytest.fixture(scope="module")
def reading() -> tuple[np.ndarray, int]:
    planes, rate = read_audio(path("reading"))
    return planes[:, : SECONDS * rate], rate


def utterances(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert of_type(events, "error") == []
    return [event for event in of_type(events, "segment") if event["is_final"]]


def seconds(audio: np.ndarray) -> dict[str, Any]:
    """In place of words: results that need no recogniser."""
    return {"text": "speech" if len(audio) > 1000 else ""}


@pytest.fixture(
    params=[
        "times alone",
        pytest.param(
            "words", marks=pytest.mark.skipif(moonshine.missing() is not None, reason="moonshine is not installed")
        ),
    ]
)
def server(request, serve):
    model = load_model("moonshine") if request.param == "words" else seconds
    return serve(model, **{"vad.detector": "silero"})


def test_words_and_times_do_not_depend_on_the_container(server, reading):
    planes, rate = reading

    def answers(format: dict[str, Any] | None, data: bytes, cut_bytes: int) -> list[dict[str, Any]]:
        first = start(rate) if format is None else {"request": "start", "format": format}
        with Client(server.url("segmented")) as client:
            client.send(first, *pieces(data, cut_bytes), STOP)
            return utterances(client.rest())

    wanted = answers(None, pcm_of(planes), 100_000)
    assert len(wanted) >= 2
    assert all(event["text"] for event in wanted)
    sources = {name: encode(planes, rate, name) for name in FILES}
    sources["webm, live"] = b"".join(encode_live(planes, rate, "webm", 250))
    sources["ogg, live"] = b"".join(encode_live(planes, rate, "ogg", 100))
    for name, data in sources.items():
        got = answers({"container": "auto"}, data, 3000)
        assert [event["text"] for event in got] == [event["text"] for event in wanted], name
        for mine, theirs in zip(got, wanted, strict=True):
            for key in ("start_time", "end_time"):
                assert abs(mine[key] - theirs[key]) <= MOST_DIFFERENCE_S, (name, key, mine, theirs)
        if name in ("wav", "flac"):
            assert got == wanted


def test_words_and_times_do_not_depend_on_the_browser(server):
    planes, rate = read_audio(path("reading"))
    begin, end = (int(time_s * rate) for time_s in RECORDED_S)

    def answers(first: dict[str, Any], messages: list[bytes]) -> list[dict[str, Any]]:
        with Client(server.url("segmented")) as client:
            client.send(first, *messages, STOP)
            return utterances(client.rest())

    wanted = answers(start(rate), pieces(pcm_of(planes[:, begin:end]), 100_000))
    assert len(wanted) == 2
    assert all(event["text"] for event in wanted)
    names = sorted(file.name for file in READING.iterdir() if file.suffix != ".json")
    assert names == ["chromium-250ms.webm", "firefox-250ms.ogg", "firefox-250ms.webm"]
    for name in names:
        media = {"request": "start", "format": {"container": "auto", "mono": True}}
        got = answers(media, slices(name, READING))
        assert [event["text"] for event in got] == [event["text"] for event in wanted], name
        later_s = [
            mine[key] - theirs[key]
            for mine, theirs in zip(got, wanted, strict=True)
            for key in ("start_time", "end_time")
        ]
        offset_s = (min(later_s) + max(later_s)) / 2
        assert abs(offset_s) <= MOST_OFFSET_S, (name, later_s)
        assert max(later_s) - offset_s <= MOST_DIFFERENCE_S, (name, later_s)
