"""The page in a browser: what a person does on it, and what stood on it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import expect

from helpers.wire import start, stream
from voxgate import recordings

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


def seconds(text: str) -> float:
    """What `duration` of the page wrote."""
    if text == "< 1 ms":
        return 0.0
    number, unit = text.split()
    return float(number) * {"ms": 0.001, "s": 1.0}[unit]
