"""`@voxgate/client` in a real browser: its README's page, a lost connection while somebody speaks, and Opus."""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from helpers.javascript import PACKAGE, install_client, serve_folder
from helpers.wire import of_type

if os.environ.get("REQUIRE_CHROMIUM") != "1":
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

# Begins a stream of the microphone; its events, notices and end go into `window.seen`.
BEGIN = """async ([route, isRecorded]) => {
    const { Microphone, recordedKind, serverInfo, stream } = await import("/web/client/index.js");
    const url = new URL(`api/v1/${route}`, location.href);
    const recorded = isRecorded ? recordedKind((await serverInfo(url)).containers) : null;
    const reconnect = { attempts: 1000, longest_wait_s: 0.5, on_notice: (notice) => seen.notices.push(notice.type) };
    window.seen = { events: [], notices: [], end: null };
    window.captions = stream(await Microphone.open({ recorded }), { url, notices: true, reconnect });
    (async () => {
        for await (const event of captions) seen.events.push(event);
        seen.end = captions.sent_s;
    })().catch((error) => (seen.end = String(error)));
}"""


def seen(page: Any) -> Any:
    return page.evaluate("seen")


def words(audio: Any) -> dict[str, Any]:
    return {"text": f"{len(audio) / 16_000:.1f} seconds of speech"}


def test_the_page_of_the_readme(serve: Any, chromium: Any, tmp_path: Path) -> None:
    install_client(tmp_path)
    readme = (PACKAGE / "README.md").read_text()
    (html,) = re.findall(r"```html no-run[^\n]*\n(.*?)```", readme, re.DOTALL)
    assert html.count("\n") == 15
    with serve_folder(tmp_path) as origin:
        server = serve(words, **{"vad.silence_duration_ms": 200, "auth.origins": origin})
        (tmp_path / "index.html").write_text(html.replace("wss://voice.example.com", f"ws://127.0.0.1:{server.port}"))
        context = chromium.new_context(permissions=["microphone"])
        try:
            page = context.new_page()
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(origin)
            page.get_by_role("button", name="Start").click()
            expect(page.get_by_role("listitem").nth(1)).to_contain_text("seconds of speech")
            page.get_by_role("button", name="Stop").click()
            assert complaints == []
        finally:
            context.close()


def test_what_is_said_while_the_server_is_away_is_answered(process: Any, visit: Any) -> None:
    page = visit(process)
    page.evaluate(BEGIN, ["simple", False])
    page.wait_for_function("() => seen.events.some((event) => event.type === 'segment')")
    process.end(signal.SIGKILL)
    page.wait_for_function("() => seen.notices.includes('lost')")
    process.start()
    page.wait_for_function("() => seen.notices.includes('resumed')")
    n_events = len(seen(page)["events"])
    page.wait_for_function(f"() => seen.events.slice({n_events}).some((event) => event.type === 'segment')")
    page.evaluate("captions.stop()")
    page.wait_for_function("() => seen.end !== null")
    told = seen(page)
    bounds = [(event["start_time"], event["end_time"]) for event in of_type(told["events"], "segment")]
    # Without a hole, and without an overlap, from the beginning to what was recorded last.
    assert bounds[0][0] == 0
    for (_, end_s), (start_s, _) in pairwise(bounds):
        assert start_s == pytest.approx(end_s, abs=0.002)
    assert bounds[-1][1] == pytest.approx(told["end"], abs=0.002)


def test_opus_is_sent_where_the_browser_records_it(serve: Any, visit: Any) -> None:
    pytest.importorskip("av")
    server = serve(words, **{"vad.silence_duration_ms": 200})
    page = visit(server)
    page.evaluate(BEGIN, ["segmented", True])
    page.wait_for_function("() => seen.events.some((event) => event.is_final)")
    page.evaluate("captions.stop()")
    page.wait_for_function("() => seen.end !== null")
    told = seen(page)
    (started,) = of_type(told["events"], "started")
    (finished,) = of_type(told["events"], "finished")
    assert started["format"]["container"] == "webm"
    assert told["end"] == pytest.approx(finished["received_s"])
    assert 1000 * finished["received_s"] < server.service.tally.binary[1] < 10_000 * finished["received_s"]


def test_a_microphone_that_is_refused(serve: Any, visit: Any) -> None:
    page = visit(serve(), microphone=False)
    program = (
        "() => import('/web/client/index.js').then(({ Microphone }) => Microphone.open()).catch(({ name }) => name)"
    )
    assert page.evaluate(program) == "NotAllowedError"
