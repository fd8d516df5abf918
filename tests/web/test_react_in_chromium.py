"""examples/react, bundled by esbuild and run in Chromium with a fake microphone (`make clients` installs React)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if os.environ.get("REQUIRE_CHROMIUM") != "1":
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

from helpers.javascript import MODULES, install_client, serve_folder

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "react"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The built page, on an origin of its own."""
    if not (MODULES / ".bin" / "esbuild").exists():
        pytest.skip("make clients installs React and esbuild")
    site = tmp_path_factory.mktemp("react")
    for path in EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, site / path.name)
    client = install_client(site)
    for name in ("react", "react-dom", "scheduler"):
        (site / "node_modules" / name).symlink_to(MODULES / name)
    shutil.copy(client / "dist" / "capture-worklet.js", site)
    options = ["--bundle", "--format=esm", "--jsx=automatic", "--outfile=main.js", "--log-level=warning"]
    subprocess.run([MODULES / ".bin" / "esbuild", "main.jsx", *options], cwd=site, check=True, timeout=60)
    with serve_folder(site) as origin:
        yield origin


def words(audio: Any) -> dict[str, Any]:
    return {"text": f"{len(audio) / 16_000:.1f} seconds of speech"}


def test_captions_of_the_microphone(serve: Any, chromium: Any, origin: str) -> None:
    server = serve(words, **{"vad.detector": "silero", "vad.silence_duration_ms": 200, "auth.origins": origin})
    context = chromium.new_context(permissions=["microphone"])
    try:
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{origin}/?server={server.url()}")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("listitem").nth(1)).to_contain_text("seconds of speech")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("button", name="Start")).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)
        assert complaints == []
    finally:
        context.close()


def test_a_server_that_does_not_know_the_page(serve: Any, chromium: Any, origin: str) -> None:
    context = chromium.new_context(permissions=["microphone"])
    try:
        page = context.new_page()
        page.goto(f"{origin}/?server={serve(words).url()}")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_have_text(re.compile(f"or takes no pages of {re.escape(origin)}"))
        expect(page.get_by_role("button", name="Start")).to_be_visible()
    finally:
        context.close()
