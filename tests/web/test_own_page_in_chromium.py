"""The page that docs/start/own-client.md shows, in a browser with a microphone: forty lines are a client."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "start" / "own-client.md"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """`python -m http.server` in a folder of its own: where somebody's page comes from, another origin than ours."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def documented_page() -> str:
    (page,) = re.findall(r"^```html file=microphone.html\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return str(page)


@pytest.mark.parametrize("is_allowed", [True, False])
def test_the_page_hears_utterances(serve: Any, chromium: Any, site: str, tmp_path: Path, is_allowed: bool) -> None:
    settings = {"auth.origins": site} if is_allowed else {}
    server = serve(**settings, **{"vad.detector": "silero"})
    (tmp_path / "microphone.html").write_text(documented_page().replace("localhost:8080", f"127.0.0.1:{server.port}"))
    context = chromium.new_context(permissions=["microphone"])
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{site}/microphone.html")
    page.get_by_role("button", name="Start").click()
    if is_allowed:
        page.wait_for_function("document.querySelector('pre').textContent.includes('\"is_final\":true')")
        page.get_by_role("button", name="Stop").click()
    page.wait_for_function("document.querySelector('pre').textContent.includes('closed')")
    *lines, closed = page.text_content("pre").splitlines()
    context.close()
    assert problems == []
    if not is_allowed:
        assert (lines, closed) == ([], "closed 1006")
        return
    assert closed == "closed 1000"
    events = [json.loads(line) for line in lines]
    assert events[0]["type"] == "active"
    finals = [event for event in events if event.get("is_final")]
    assert finals
    for final in finals:  # the count of samples at 16 kHz, whatever the rate of the microphone was
        assert final["count"] / 16_000 == pytest.approx(final["end_time"] - final["start_time"], abs=0.002)
