"""The page in a real browser: each test looks at what stands on the screen."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import threading
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pytest
import soundfile
from msgspec import Meta, Struct

from helpers.wire import Client, of_type, start, stream
from voxgate import InferenceError, Model, Request, recordings

if os.environ.get("REQUIRE_CHROMIUM") != "1":
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

REFUSED_TITLE = "The browser blocks the microphone for this page."
FINALS = '#results li[data-state="final"]'


def words(audio: Any) -> dict[str, Any]:
    """A model with text, which says how long its audio was."""
    text = f"{len(audio) / 16_000:.2f} seconds <of> speech"
    return {"text": text, "language": "en", "words": [{"word": word} for word in text.split()]}


# Everything that the list, the line of state and a button have been since, in order: what stands on the screen for a
# moment is not missed, however slow the machine that looks.
RECORD = """() => {
    const seen = (window.seen = { rows: [], states: [], copied: [] });
    const rowsOf = new Map();
    const list = document.getElementById("results");
    const look = (row) => {
        if (!rowsOf.has(row)) {
            rowsOf.set(row, []);
            seen.rows.push(rowsOf.get(row));
        }
        const isPlaying = row.classList.contains("playing");
        const text = row.querySelector(".text")?.textContent ?? null;
        const isSoFar = row.querySelector(".badge")?.textContent === "so far";
        rowsOf.get(row).push({ state: row.dataset.state, text, isSoFar, isPlaying });
    };
    new MutationObserver((changes) => {
        const nodes = changes.flatMap(({ target, addedNodes }) => (target === list ? [...addedNodes] : [target]));
        new Set(nodes.map((node) => node.closest("#results li"))).forEach((row) => row && look(row));
    }).observe(list, { subtree: true, childList: true, attributes: true });
    for (const [id, texts] of [["state", seen.states], ["copy", seen.copied]]) {
        const element = document.getElementById(id);
        new MutationObserver(() => texts.push(element.textContent)).observe(element, { childList: true });
    }
}"""
# A page that has much to do may paint the next state before the last one was seen.
ORDERS = (["final"], ["waiting", "final"], ["speaking", "final"], ["speaking", "waiting", "final"])


def record(page: Any) -> None:
    page.evaluate(RECORD)


def await_history(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {{ const {{ rows, states, copied }} = seen; return {condition}; }}")


def is_ever(row: list[dict[str, Any]], what: str) -> bool:
    return any(one[what] for one in row)


def is_part_of(some: list[str], every: list[str]) -> bool:
    """In the same order."""
    rest = iter(every)
    return all(one in rest for one in some)


def drop(page: Any, name: str, data: bytes) -> None:
    """Drops a file on the page, as a person does with the mouse."""
    transfer = page.evaluate_handle(
        """([name, base64]) => {
            const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_be_hidden()


def over_and_over(name: str, times: int) -> bytes:
    """So much of it that it does not end before the test does, as a sound file."""
    samples, rate = soundfile.read(recordings.path(name), dtype="int16")
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([samples] * times), rate, format="WAV")
    return file.getvalue()


def choose(page: Any, name: str, *, live: bool = False, route: str = "segmented") -> None:
    page.get_by_role("radio", name="Sound file").check()
    page.get_by_role("radio", name="Live pace" if live else "Full speed").check()
    page.locator("#file").set_input_files(str(recordings.path(name)))
    expect(page.locator("#route option")).to_have_count(3)
    page.locator("#route").select_option(route)


def send_file(page: Any, name: str, *, route: str = "segmented") -> None:
    """To the end."""
    choose(page, name, route=route)
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#start-label")).to_have_text("Start")
    expect(page.locator("#state")).to_have_text("Press Start to send the file.")


def downloaded(page: Any, button: str) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button, exact=True).click()
    return Path(waiting.value.path()).read_text()


def as_told_to_a_plain_client(server: Any, name: str, **options: Any) -> list[dict[str, Any]]:
    samples, rate = soundfile.read(recordings.path(name), dtype="int16", always_2d=True)
    message = start(rate, samples.shape[1], notices=True, **options)  # like the page
    return stream(server.url(), message, *(samples[at : at + 8000].tobytes() for at in range(0, len(samples), 8000)))


def results_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        (event for event in events if event["type"] == "segment" and event.get("is_final") is not False),
        key=lambda event: (event["channel"], event["start_time"]),
    )


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


def seconds(text: str) -> float:
    """What `duration` of the page wrote."""
    if text == "< 1 ms":
        return 0.0
    number, unit = text.split()
    return float(number) * {"ms": 0.001, "s": 1.0}[unit]


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
            const colour = getComputedStyle(canvas).getPropertyValue("--picture-final").trim();
            const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
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
