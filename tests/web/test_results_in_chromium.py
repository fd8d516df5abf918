"""The list of results and the picture, in a real browser."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.wire import of_type
from voxgate import InferenceError, recordings

if os.environ.get("REQUIRE_CHROMIUM") != "1":
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

from helpers.page import FINALS, await_history, downloaded, is_ever, record, results_of, send_file, words


def test_results_can_be_taken_along(serve, visit):
    page = visit(serve(words))
    expect(page.get_by_role("button", name="Copy")).to_be_disabled()
    expect(page.get_by_role("button", name="SRT")).to_be_hidden()
    send_file(page, "telephone")
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    first, *_ = found = results_of(session["events"])

    def stamp(seconds: float, point: str) -> str:
        ms = round(seconds * 1000)
        return f"00:00:{ms // 1000:02}{point}{ms % 1000:03}"

    srt = downloaded(page, "SRT")
    assert srt.startswith(
        f"1\n{stamp(first['start_time'], ',')} --> {stamp(first['end_time'], ',')}\n{first['text']}\n\n2\n"
    )
    assert srt.count(" --> ") == len(found)
    vtt = downloaded(page, "VTT")
    escaped = first["text"].replace("<", "&lt;").replace(">", "&gt;")
    assert vtt.startswith(
        f"WEBVTT\n\n{stamp(first['start_time'], '.')} --> {stamp(first['end_time'], '.')}\n{escaped}\n"
    )
    with page.expect_download() as waiting:
        page.get_by_role("button", name="WAV").click()
    heard, rate = soundfile.read(waiting.value.path(), dtype="int16")
    sent, sent_rate = soundfile.read(recordings.path("telephone"), dtype="int16")
    assert (rate, heard.shape) == (sent_rate, sent.shape)
    assert np.abs(heard.astype(int) - sent).max() <= 1  # the browser decodes to floats, and rounds
    record(page)
    page.get_by_role("button", name="Copy").click()
    await_history(page, "copied.includes('Copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.count("\n") == len(found)
    assert first["text"] in copied
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#results li")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_results_without_text_make_no_subtitles(serve, visit):
    page = visit(serve())
    send_file(page, "telephone")
    expect(page.locator(FINALS).first).to_contain_text("count")
    expect(page.get_by_role("button", name="SRT")).to_be_hidden()


def test_a_result_that_failed_stands_in_its_place(serve, visit):
    def picky(audio):
        if len(audio) > 24_000:
            raise InferenceError("too long for me")
        return {"count": len(audio)}

    page = visit(serve(picky, **{"inference.warm_up": False}))
    send_file(page, "demo")
    failed = page.locator('#results li[data-state="failed"]')
    expect(failed.first).to_contain_text("too long for me")
    assert failed.count() + page.locator(FINALS).count() == page.locator("#results li").count()
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    assert failed.count() == len(of_type(session["events"], "error"))


def test_a_segment_in_the_picture_can_be_heard(serve, visit):
    page = visit(serve(words))
    record(page)
    send_file(page, "demo")
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    second = results_of(session["events"])[1]
    box = page.locator("#picture").bounding_box()
    middle = (second["start_time"] + second["end_time"]) / 2
    page.locator("#picture").click(position={"x": box["width"] * middle / 15, "y": 80})
    expect(page.locator(FINALS).nth(1)).to_have_attribute("aria-current", "true")
    await_history(page, "rows[1].some((one) => one.isPlaying)")
    expect(page.locator("#results .playing")).to_have_count(0)
    assert [number for number, row in enumerate(page.evaluate("seen.rows")) if is_ever(row, "isPlaying")] == [1]


def test_the_picture_shows_what_was_heard(serve, visit):
    """Columns of the picture hold the colour of speech exactly where speech was."""
    page = visit(serve(words))
    send_file(page, "demo")
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    strip = page.evaluate(
        """() => {
            const canvas = document.getElementById("picture");
            const legend = getComputedStyle(document.querySelector(".of-final"), "::before");
            const wanted = legend.backgroundColor.match(/\\d+/g).map(Number);
            const ratio = devicePixelRatio;
            const y = Math.round(202 * ratio);  // the upper edge of the results, above their text
            const { data } = canvas.getContext("2d").getImageData(0, y, canvas.width, 1);
            return Array.from({ length: canvas.width }, (_, x) => wanted.every((one, c) => data[4 * x + c] === one));
        }"""
    )
    columns = np.arange(len(strip)) / len(strip) * 15
    expected = np.zeros(len(strip), bool)
    for event in results_of(session["events"]):
        expected |= (columns >= event["start_time"]) & (columns < event["end_time"])
    assert np.mean(np.array(strip) == expected) > 0.985  # but for round corners
    assert expected.any()


def test_many_values_over_time_at_every_resolution(serve, visit):
    """The pyramid of the waveform against the plain minimum and maximum."""
    page = visit(serve())
    wrong = page.evaluate(
        """async () => {
            const { Pyramid } = await import("/web/pyramid.js");
            const pyramid = new Pyramid(0.5);
            const lows = [], highs = [];
            let seed = 1;
            const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
            for (let i = 0; i < 50_000; i++) {
                const low = Math.floor(random() * 60_000) - 32_768;
                const high = Math.min(32_767, low + Math.floor(random() * 100));
                lows.push(low);
                highs.push(high);
                pyramid.push(low, high);
            }
            const out = new Int16Array(2);
            const wrong = [];
            for (let trial = 0; trial < 2000; trial++) {
                const from = random() * 50_000, length = Math.exp(random() * 10);
                const [first, last] = [Math.floor(from), Math.min(50_000, Math.ceil(from + length))];
                if (!pyramid.range(from / 2, (from + length) / 2, out)) wrong.push("nothing");
                // Coarse steps reach at most two of their own lengths beyond both ends.
                const beyond = length > 8 ? Math.ceil(length) : 0;
                const least = (a, b) => lows.slice(Math.max(0, a), b).reduce((x, y) => Math.min(x, y));
                const most = (a, b) => highs.slice(Math.max(0, a), b).reduce((x, y) => Math.max(x, y));
                const [before, after] = [first - beyond, last + beyond];
                if (out[0] > least(first, last) || out[0] < least(before, after)) wrong.push([from, length]);
                if (out[1] < most(first, last) || out[1] > most(before, after)) wrong.push([from, length]);
            }
            return wrong;
        }"""
    )
    assert wrong == []


def test_a_word_with_a_time_can_be_heard_from_there_on(serve, visit):
    def timed(audio: Any) -> dict[str, Any]:
        return {"text": "Well, so it is.", "words": [
            {"word": word, "start": start, "end": start + 0.1}
            for word, start in (("well", 0.0), ("so", 0.2), ("it", 0.4), ("is", 0.5))
        ]}  # fmt: skip

    page = visit(serve(timed))
    record(page)
    send_file(page, "telephone")
    expect(page.locator(f"{FINALS} .text").first).to_have_text("Well, so it is.")
    row = page.locator(FINALS).first
    expect(row.locator(".word")).to_have_text(["Well", "so", "it", "is"])
    played = page.evaluate_handle(
        """() => {
            const lengths = [], start = AudioBufferSourceNode.prototype.start;
            AudioBufferSourceNode.prototype.start = function () {
                lengths.push(this.buffer.duration);
                return start.call(this);
            };
            return lengths;
        }"""
    )
    row.locator(".play").click()
    row.locator(".word").nth(2).click()
    whole, part = page.evaluate("(lengths) => lengths", played)
    assert whole - part == pytest.approx(0.4, abs=0.001)


def test_text_without_times_of_all_its_words_is_plain_text(serve, visit):
    page = visit(serve())
    found = page.evaluate(
        """async () => {
            const { timedWords } = await import("/web/format.js");
            const one = (word, start) => ({ word, start });
            return [
                timedWords("a, b", { words: [one("a", 0), one("b", 1)] }),
                timedWords("a b", { words: [one("a", 0), one("c", 1)] }),
                timedWords("a b", { words: [{ word: "a" }] }),
                timedWords("a b", { words: [] }),
                timedWords("a b", {}),
            ];
        }"""
    )
    assert found == [[["a", 0], [", ", None], ["b", 1]], None, None, None, None]


def test_a_text_that_does_not_fit_ends_in_an_ellipsis(serve, visit):
    page = visit(serve())
    found = page.evaluate(
        """async () => {
            const { fitted } = await import("/web/format.js");
            const measure = (text) => text.length;
            const given = [["good morning", 12], ["good morning", 6], ["good", 1]];
            return given.map(([text, room]) => fitted(text, room, measure));
        }"""
    )
    assert found == ["good morning", "good…", "…"]
