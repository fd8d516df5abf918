"""A server that goes away, is full or wants a token, on the page in a real browser."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise

import pytest
import soundfile

from helpers.wire import Client, of_type, start
from voxgate import recordings

if os.environ.get("REQUIRE_CHROMIUM") != "1":
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

from helpers.page import FINALS, await_history, choose, downloaded, record, results_of, send_file, words


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_goes_away_and_comes_back(process, visit, how):
    page = visit(process)
    choose(page, "demo", live=True)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(FINALS).first).to_contain_text("count")
    process.end(how)
    expect(page.locator("#state")).to_have_text("Looking for the server …")
    expect(page.get_by_role("alert")).to_contain_text("The server")
    expect(page.get_by_role("alert")).to_contain_text("stands")
    expect(page.locator("#connection")).to_have_text("the server does not answer")
    n_before = page.locator(FINALS).count()
    assert n_before >= 1  # what it said so far stands
    process.start()
    expect(page.get_by_role("alert")).to_contain_text("The server is back.")
    expect(page.locator("#connection")).to_have_text("connected")
    expect(page.locator("#connection")).to_have_text("server ready")  # the file is over
    # The stream goes on from where the answers ended: nothing is missing, and nothing came twice.
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    assert session["duration_s"] == pytest.approx(soundfile.info(recordings.path("demo")).duration, abs=0.001)
    heard = results_of(session["events"])
    assert page.locator(FINALS).count() == page.locator("#results li").count() == len(heard)
    assert len(heard) >= len(recordings.truth("demo")[0])
    assert all(one["end_time"] <= after["start_time"] + 0.25 for one, after in pairwise(heard))


def test_stopping_while_the_server_is_away(process, visit):
    page = visit(process)
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#connection")).to_have_text("connected")
    process.end(signal.SIGKILL)
    expect(page.locator("#state")).to_have_text("Looking for the server …")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("The server does not answer.")
    expect(page.locator("#state")).to_have_attribute("data-state", "away")
    expect(page.get_by_role("alert")).to_be_hidden()  # the page does not go on by itself any more
    process.start()
    expect(page.locator("#connection")).to_have_text("server ready")  # it is looked for all the same
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()


def test_a_server_that_goes_away_before_the_last_results(process, visit):
    process.end(signal.SIGKILL)
    process.start(delay_s=600)
    page = visit(process)
    record(page)
    page.get_by_role("button", name="Start").click()
    await_history(page, "rows.length > 0")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("Waiting for the last results …")
    process.end(signal.SIGKILL)
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.locator("#state")).to_have_text("Looking for the server …")
    expect(page.locator("#connection")).to_have_text("the server does not answer")
    expect(page.locator("#lag")).to_have_text("–")
    process.start()  # what was said is still here, and gets its results
    await_history(page, "rows.some((row) => row.at(-1).state === 'final')")
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    (session,) = json.loads(downloaded(page, "JSON"))["sessions"]
    assert of_type(session["events"], "finished")[-1]["received_s"] == pytest.approx(session["duration_s"], abs=0.001)


def test_a_server_that_goes_away_while_nothing_goes_on(process, visit):
    page = visit(process)
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    expect(page.locator("#connection")).to_have_text("server ready")
    process.end(signal.SIGKILL)
    expect(page.locator("#state")).to_have_text("The server does not answer.")
    expect(page.locator("#state")).to_have_attribute("data-state", "away")


def test_a_wrong_token_and_a_good_one(serve, visit):
    server = serve(words, **{"auth.tokens": "s3cret-u"})
    page = visit(server)
    expect(page.locator("#connection")).to_have_text("a token is needed")
    expect(page.locator("#token-state")).to_contain_text("The server requires a token.")
    expect(page.locator("#state")).to_have_text("Enter the token first.")
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Use").click()
    expect(page.locator("#token-state")).to_contain_text("The server does not accept this token")
    expect(page.locator("#connection")).to_have_text("a token is needed")
    page.get_by_label("Token").fill("s3cret-u")
    page.get_by_label("Token").press("Enter")
    expect(page.locator("#token-state")).to_have_text("The server accepts this token.")
    send_file(page, "telephone")
    expect(page.locator(FINALS)).not_to_have_count(0)
    # It is kept only for who wishes it, and then no longer than the tab.
    assert page.evaluate("[sessionStorage.length, Object.keys(localStorage).length]") == [0, 0]
    page.get_by_label("Keep until this tab is closed").check()
    page.get_by_role("button", name="Use").click()
    expect(page.locator("#token-state")).to_have_text("The server accepts this token.")
    page.reload()
    expect(page.locator("#connection")).to_have_text("server ready")


def test_a_full_server_is_waited_for(serve, visit):
    server = serve(words, **{"limits.streams": 1})
    page = visit(server)
    with Client(server.url()) as other:
        other.send(start(notices=True))
        other.until("started")
        choose(page, "telephone")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_contain_text("The server takes no more streams just now.")
        expect(page.get_by_role("alert")).to_contain_text("server full: 1 stream is open")
    expect(page.locator(FINALS)).not_to_have_count(0)
