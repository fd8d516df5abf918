"""Microphone, files and routes on the page, in a real browser."""

from __future__ import annotations

import json
import os
import re
from itertools import groupby
from operator import itemgetter

import numpy as np
import pytest
import soundfile

from helpers.wire import of_type
from voxgate import Model, recordings

if os.environ.get("REQUIRE_CHROMIUM") != "1":
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

from helpers.page import (
    FINALS,
    ORDERS,
    as_told_to_a_plain_client,
    await_history,
    downloaded,
    drop,
    is_part_of,
    over_and_over,
    record,
    results_of,
    send_file,
    words,
)

REFUSED_TITLE = "The browser blocks the microphone for this page."


def test_speaking_into_the_microphone(serve, visit):
    page = visit(serve(words, **{"vad.detector": "silero", "vad.silence_duration_ms": 200}))
    record(page)
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    expect(page.locator("#connection")).to_have_text("server ready")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#connection")).to_have_text("connected")
    # While it is spoken, what the model says so far; then the final in the same row. Where in the speech the microphone
    # begins is left to chance, and so the first utterance may be too short for an interim.
    await_history(page, "rows.some((row) => row.some((one) => one.isSoFar) && row.at(-1).state === 'final')")
    await_history(page, "rows.filter((row) => row.at(-1).state === 'final').length > 1")
    expect(page.locator("#state")).to_have_text(re.compile("Listening: silence|Hears speech"))
    await_history(page, "states.includes('Hears speech') && states.includes('Listening: silence')")
    expect(page.locator("#answer")).to_have_text(re.compile(r"\d+ ms|\d\.\d+ s"))
    expect(page.locator("#factor")).to_have_text(re.compile(r"^\d\.\d{3}$"))
    expect(page.locator("#streams")).to_have_text(re.compile("^1 / "))
    expect(page.locator("#session")).to_have_text(re.compile(r"^Session [0-9a-f]{32}$"))
    expect(page.locator("#said")).to_have_text(re.compile("seconds <of> speech"))
    # Hear it again, from the list.
    row = page.locator("#results li").first
    row.get_by_role("button", name=re.compile("^Hear 0:0")).click()
    expect(row).to_have_attribute("aria-current", "true")
    await_history(page, "rows[0].some((one) => one.isPlaying) && !rows[0].at(-1).isPlaying")  # it has an end
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    assert page.locator("#results li").count() == page.locator(FINALS).count()
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    segments = of_type(session["events"], "segment")
    finals = [event for event in segments if event["is_final"]]
    rows = page.evaluate("seen.rows")
    assert len(rows) == len(finals)
    for row, final in zip(rows, finals, strict=True):
        # What stood there before the final is what the server had said so far, one after the other.
        assert [state for state, _ in groupby(row, key=itemgetter("state"))] in ORDERS
        said = [event["text"] for event in segments if event["start_time"] == final["start_time"]]
        stood = [text for text, _ in groupby(one["text"] for one in row if one["text"] is not None)]
        assert is_part_of(stood, said)
        assert stood[-1] == final["text"]
        assert all(one["isSoFar"] == (one["state"] != "final" and one["text"] is not None) for one in row)
    # The microphone was heard as it is: the probabilities of its speech say so, and so does the picture.
    values = [value for event in of_type(session["events"], "probabilities") for value in event["values"]]
    assert max(values) > 0.95
    assert min(values) < 0.05


def test_a_file_at_full_speed_gives_what_a_plain_client_gets(serve, visit):
    server = serve(words, **{"vad.detector": "silero"})
    page = visit(server)
    send_file(page, "stereo")
    expected = results_of(as_told_to_a_plain_client(server, "stereo"))
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    assert results_of(session["events"]) == expected
    assert (session["channels"], session["route"], session["source"]) == (2, "segmented", "stereo.flac")
    # And all of it stands on the screen, each channel by its name.
    rows = page.locator(FINALS)
    expect(rows).to_have_count(len(expected))
    for channel in (0, 1):
        mine = [event for event in expected if event["channel"] == channel]
        expect(rows.filter(has_text=f"ch {channel}")).to_have_count(len(mine))
        for event in mine:
            expect(rows.filter(has_text=event["text"])).not_to_have_count(0)
        expect(rows.filter(has_text="items")).to_have_count(0)  # lists beside words are for the JSON
    first = min(expected, key=lambda event: event["start_time"])
    expect(rows.first.locator(".when")).to_have_text(f"0:0{first['start_time']:.1f} – 0:0{first['end_time']:.1f}")


def test_a_file_that_is_dropped_is_sent_at_live_pace(serve, visit):
    page = visit(serve(words))
    expect(page.locator("#connection")).to_have_text("server ready")
    record(page)
    drop(page, "telephone.wav", over_and_over("telephone", 10))
    await_history(page, "states.includes('Hears speech')")
    expect(page.locator(FINALS).first).to_contain_text("seconds <of> speech")
    # The last word waits for the silence that ends speech, and that is what the clock of the audio says.
    expect(page.locator("#total")).to_have_text(re.compile(r"^([5-9]\d\d ms|[1-4]\.\d\d s)$"))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#connection")).to_have_text("server ready")


def test_a_file_that_is_no_sound(serve, visit):
    page = visit(serve())
    expect(page.locator("#connection")).to_have_text("server ready")
    drop(page, "notes.txt", b"no sound at all")
    expect(page.get_by_role("alert")).to_contain_text("The browser cannot decode notes.txt.")
    expect(page.locator("#start-label")).to_have_text("Start")


@pytest.mark.parametrize("route", ["simple", "stateful"])
def test_the_other_routes(serve, visit, route):
    class Both(Model):
        name = "both"

        def infer(self, audio):
            return {"seconds": len(audio) / 16_000}

        def step(self, audio, state):
            return {"seconds": len(audio) / 16_000}

    page = visit(serve(Both()))
    send_file(page, "telephone", route=route)
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    length_s = soundfile.info(recordings.path("telephone")).duration
    assert sum(event["seconds"] for event in results_of(session["events"])) == pytest.approx(length_s, abs=0.001)
    expect(page.locator(FINALS)).to_have_count(len(results_of(session["events"])))
    expect(page.locator("#vad")).to_be_hidden()


def test_a_route_the_model_is_not_made_for_cannot_be_chosen(serve, visit):
    page = visit(serve())
    option = page.locator("#route option", has_text="stateful")
    expect(option).to_be_disabled()
    expect(option).to_have_text("stateful (not with this model)")


def test_a_refused_microphone(serve, visit):
    page = visit(serve(), microphone=False)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text(REFUSED_TITLE)
    expect(page.get_by_role("alert")).to_contain_text("Allow it")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    # What to do instead works.
    send_file(page, "telephone")
    expect(page.locator(FINALS)).not_to_have_count(0)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_without_https_the_page_says_why_there_is_no_microphone(serve, visit):
    page = visit(serve(**{"server.allowed_hosts": "voxgate.test"}), microphone=False, host="voxgate.test")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("HTTPS")
    expect(page.get_by_role("alert")).to_contain_text("http://localhost:")
    send_file(page, "telephone")
    expect(page.locator(FINALS)).not_to_have_count(0)


def test_the_sample_needs_no_microphone(serve, visit):
    page = visit(serve(words), microphone=False)
    expect(page.locator("#empty")).to_be_visible()
    page.get_by_role("button", name="Try the sample").click()
    expect(page.locator("#state")).to_have_text("Hears speech")
    expect(page.get_by_role("radio", name="Sound file")).to_be_checked()
    expect(page.locator(FINALS).first).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    assert session["source"] == "sample.flac"


def test_the_microphone_may_save_bandwidth(serve, visit):
    pytest.importorskip("av")
    server = serve(words, **{"vad.detector": "silero", "vad.silence_duration_ms": 200})
    page = visit(server)
    record(page)
    page.get_by_role("checkbox", name="Save bandwidth").check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#connection")).to_have_text("connected")
    await_history(page, "rows.filter((row) => row.at(-1).state === 'final').length > 1")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    (started,) = of_type(session["events"], "started")
    assert started["format"] == {"container": "webm", "channels": 1, "sample_rate": 16_000}
    (finished,) = of_type(session["events"], "finished")
    assert of_type(session["events"], "error") == []
    n_bytes = server.service.tally.binary[1]
    assert 1000 * finished["received_s"] < n_bytes < 10_000 * finished["received_s"]  # of 96 000 a second
    values = [value for event in of_type(session["events"], "probabilities") for value in event["values"]]
    assert max(values) > 0.95
    assert min(values) < 0.05
    # A second Start begins a new container.
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#connection")).to_have_text("connected")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    sessions = json.loads(downloaded(page, "JSON"))["sessions"]
    assert [of_type(session["events"], "error") for session in sessions] == [[], []]


def test_a_file_that_only_the_server_decodes(serve, visit):
    pytest.importorskip("av")
    from helpers.media import RATE, SPEECH
    from voxgate.audio.containers.encoding import encode

    planes = np.concatenate([SPEECH, np.zeros_like(SPEECH)])
    data = encode(planes, RATE, "mp4", codec="alac")  # Apple's lossless codec, which Chromium does not decode
    server = serve(words, **{"vad.detector": "silero"})
    page = visit(server)
    expect(page.locator("#connection")).to_have_text("server ready")
    drop(page, "talk.m4a", data)
    expect(page.get_by_role("alert")).to_contain_text("The browser cannot decode talk.m4a: the server does.")
    expect(page.locator("#state")).to_have_text("Press Start to send the file.")
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    (started,) = of_type(session["events"], "started")
    assert started["format"] == {"container": "mp4", "channels": 2, "sample_rate": RATE}
    assert session["channels"] == 2
    expected = results_of(as_told_to_a_plain_client(server, "demo"))
    assert results_of(session["events"]) == expected
    expect(page.locator(FINALS)).to_have_count(len(expected))


def test_a_server_without_decoders_offers_nothing_compressed(serve, visit, monkeypatch):
    monkeypatch.setattr("voxgate.audio.containers.decoders.has_pyav", lambda: False)
    monkeypatch.setattr("voxgate.audio.containers.decoders.has_opus", lambda: False)
    page = visit(serve())
    expect(page.locator("#connection")).to_have_text("server ready")
    expect(page.locator("#compress-label")).to_be_hidden()
    drop(page, "talk.m4a", b"\0\0\0\x18ftypM4A " + bytes(1000))
    expect(page.get_by_role("alert")).to_contain_text("The browser cannot decode talk.m4a.")
