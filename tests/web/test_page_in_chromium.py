"""Settings, numbers, layout and keyboard of the page: each test looks at what stands on the screen of a browser."""

from __future__ import annotations

import json
import os
import re
import threading
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pytest
from msgspec import Meta, Struct

from voxgate import Model, Request

if os.environ.get("REQUIRE_CHROMIUM") != "1":
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

from helpers.page import (
    FINALS,
    as_told_to_a_plain_client,
    await_history,
    choose,
    downloaded,
    record,
    results_of,
    seconds,
    send_file,
    words,
)


def test_the_numbers_after_stop(serve, visit):
    """A final that is due because of Stop: its last word was spoken before the server decided that speech was over."""
    go_on = threading.Event()

    def waits(audio: Any) -> dict[str, Any]:
        assert go_on.wait(60)
        return {"n": len(audio)}

    page = visit(serve(waits, **{"vad.silence_duration_ms": 5000, "inference.warm_up": False}))
    record(page)
    page.locator("#interim").uncheck()
    page.get_by_role("button", name="Start").click()
    await_history(page, "rows.length > 0")
    expect(page.locator("#lag")).not_to_have_text("–")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("Waiting for the last results …")
    await_history(page, "rows.at(-1).at(-1).state === 'waiting'")
    go_on.set()
    expect(page.locator("#state")).to_have_text("Press Start and speak.")
    answer, total = (page.locator(at).text_content() for at in ("#answer", "#total"))
    assert seconds(total) >= seconds(answer) > 0
    expect(page.locator("#lag")).to_have_text("–")  # nothing is owed any more


def test_values_for_the_next_session(serve, visit):
    """They are sent, and only those that were changed; ranges are those of the server."""
    server = serve(words, **{"vad.silence_duration_ms": 700})
    page = visit(server)
    page.get_by_text("Speech detection").click()
    silence = page.get_by_label("Silence that ends speech", exact=True)
    expect(silence).to_have_value("700")
    expect(page.locator(".control", has=silence)).to_contain_text("50 to 10000 ms; the server has 700.")
    silence.fill("20")
    choose(page, "demo")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("A value is out of its range.")
    expect(page.get_by_role("alert")).to_contain_text("Silence that ends speech")
    silence.fill("100")
    page.get_by_label("Speech threshold", exact=True).fill("0.2")
    expect(page.get_by_label("Silence threshold", exact=True)).to_have_value("0.2")  # gives way
    expect(page.locator("#vad-changed")).to_have_text("3 changed")
    send_file(page, "demo")
    session = json.loads(downloaded(page, "JSON"))["sessions"][-1]
    vad = {"threshold": 0.2, "silence_duration_ms": 100}
    expected = results_of(as_told_to_a_plain_client(server, "demo", vad=vad))
    assert results_of(session["events"]) == expected
    assert len(expected) > len(results_of(as_told_to_a_plain_client(server, "demo")))
    page.get_by_role("button", name="As the server has them").click()
    expect(silence).to_have_value("700")
    expect(page.locator("#vad-changed")).to_be_hidden()


class Choosy(Model):
    """Answers with its options."""

    class Options(Struct):
        language: Annotated[Literal["de", "en"] | None, Meta(description="Spoken.")] = None
        beam: Annotated[int, Meta(ge=1, le=10)] = 5
        prompt: Annotated[str, Meta(max_length=20)] = ""
        hotwords: list[str] = []
        punctuate: bool = True
        table: dict[str, int] = {}
        speaker: str = "nobody"

    def infer(self, audio: np.ndarray, request: Request) -> dict[str, Any]:
        return {"options": msgspec.structs.asdict(request.options)}


def test_the_options_of_the_model_are_a_form(serve, visit):
    page = visit(serve(Choosy()))
    expect(page.get_by_text("Model options")).to_be_visible()
    language = page.get_by_label("language", exact=True)
    expect(language).to_have_accessible_description("Spoken.")
    language.select_option("en")
    beam = page.get_by_label("beam", exact=True)
    expect(beam).to_have_accessible_description("The model has 5.")
    beam.fill("11")
    choose(page, "telephone")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("A value is out of its range.")
    expect(page.get_by_role("alert")).to_contain_text("beam")
    beam.fill("2")
    page.get_by_label("hotwords", exact=True).fill("Voxgate\nlive audio")
    page.get_by_label("punctuate", exact=True).select_option("false")
    table = page.get_by_label("table", exact=True)
    table.fill('{"a": 1')
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("expected JSON")
    expect(table).to_have_attribute("aria-invalid", "true")
    table.fill('{"a": 1}')
    page.get_by_label("speaker", exact=True).fill("Anna")
    send_file(page, "telephone")
    session = json.loads(downloaded(page, "JSON"))["sessions"][-1]
    (options,) = {json.dumps(event["options"]) for event in session["events"] if event["type"] == "segment"}
    assert json.loads(options) == {
        "language": "en",
        "beam": 2,
        "prompt": "",
        "hotwords": ["Voxgate", "live audio"],
        "punctuate": False,
        "table": {"a": 1},
        "speaker": "Anna",
    }


def test_a_model_without_options_has_no_form(serve, visit):
    page = visit(serve(words))
    expect(page.locator("#vad-controls input")).not_to_have_count(0)
    expect(page.locator("#options")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_and_a_keyboard(serve, visit, scheme):
    page = visit(serve(words), viewport={"width": 360, "height": 640}, color_scheme=scheme)
    page.get_by_role("heading", name="Settings").click()
    send_file(page, "stereo")
    page.get_by_text("Speech detection").click()
    width = page.evaluate(
        "Math.max(...[...document.querySelectorAll('body *')].map((e) => e.getBoundingClientRect().right))"
    )
    assert width <= 360
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")
    # Round the three schemes, by keyboard.
    theme = page.get_by_role("button", name="Theme: auto")
    theme.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Theme: light")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_focused()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    # The picture: Home, zoom, and back.
    page.locator("#picture").focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(page.locator("#span")).to_have_text("7 s")
    page.keyboard.press("Home")
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("End")
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "true")


def test_starting_and_stopping_by_keyboard(serve, visit):
    page = visit(serve(words))
    start = page.locator("#start")
    expect(start).to_be_enabled()
    start.focus()
    for n_sessions in (1, 2):
        page.keyboard.press("Enter")
        expect(page.locator("#connection")).to_have_text("connected")
        expect(start).to_be_focused()  # through the question for the microphone
        page.keyboard.press("Enter")
        expect(page.locator("#start-label")).to_have_text("Start")
        expect(page.locator("#connection")).to_have_text("server ready")
        expect(start).to_be_focused()
        assert len(json.loads(downloaded(page, "JSON"))["sessions"]) == n_sessions
        start.focus()  # the download took it


def test_results_come_first_on_a_phone_and_controls_are_one_line(serve, visit):
    page = visit(serve(words), viewport={"width": 390, "height": 844})
    expect(page.get_by_role("button", name="Try the sample")).to_be_enabled()
    tops = page.evaluate("['.results', '.picture', '.side'].map((at) => document.querySelector(at).offsetTop)")
    assert tops == sorted(tops)
    for panel in ("#microphone-options", "#numbers", "#settings"):
        expect(page.locator(panel)).not_to_have_attribute("open", "")
    page.get_by_role("button", name="Try the sample").click()
    expect(page.locator("#state")).to_have_text("Hears speech")
    expect(page.locator("#source-kind")).to_be_hidden()  # while it runs, there is nothing to choose
    assert page.locator(FINALS).first.bounding_box()["y"] < 844 / 2
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#source-kind")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 900})
    for panel in ("#microphone-options", "#numbers", "#settings"):
        expect(page.locator(panel)).to_have_attribute("open", "")


def test_a_model_that_is_too_slow_is_a_warning(serve, visit):
    page = visit(serve())
    shown = page.evaluate(
        """async () => {
            const { Numbers } = await import("/web/numbers.js");
            const numbers = new Numbers((id) => document.getElementById(id));
            const state = { phase: "listening", session: null, unsent_s: 0 };
            return [0.5, 1.25, 0.9].map((factor) => {
                numbers.receive({ type: "progress", lag_s: 0, real_time_factor: factor }, [], null, true);
                numbers.show(state, null);
                const [value, help] = ["factor", "factor-help"].map((id) => document.getElementById(id));
                return [value.textContent, value.dataset.state, help.hidden];
            });
        }"""
    )
    assert shown == [["0.500", "", True], ["1.250", "slow", False], ["0.900", "", True]]


@pytest.mark.parametrize("width", [320, 768, 1280, 2560])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(serve, visit, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(
        serve(Choosy(), **{"auth.tokens": "s3cret-u"}), viewport={"width": width, "height": 900}, color_scheme=scheme
    )

    def found() -> list[str]:
        return [f"{one['id']}: {one['nodes'][0]['html']}" for one in axe.run(page).response["violations"]]

    expect(page.locator("#token-state")).to_contain_text("The server requires a token.")
    assert found() == []
    page.get_by_label("Token").fill("s3cret-u")
    page.get_by_label("Token").press("Enter")
    expect(page.locator("#connection")).to_have_text("server ready")
    if width < 900:
        page.get_by_role("heading", name="Settings").click()
    send_file(page, "telephone")
    assert found() == []


def test_everything_that_can_be_used_has_a_name(serve, visit):
    page = visit(serve(Choosy()))
    expect(page.locator("#vad-controls input")).not_to_have_count(0)
    expect(page.locator("#model-options textarea")).to_have_count(2)
    nameless = page.evaluate(
        """() => {
          const usable = document.querySelectorAll("button, input:not([aria-hidden]), select, textarea, canvas");
          return [...usable].filter((element) => {
            const labels = [...(element.labels ?? [])].map((label) => label.textContent.trim()).join("");
            return !(element.getAttribute("aria-label") || labels || element.textContent.trim());
          }).map((element) => element.outerHTML);
        }"""
    )
    assert nameless == []
