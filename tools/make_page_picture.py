"""Makes the picture of the page for the README: a real server, a real Chromium (the system's), speech from a file into
its microphone. Needs `playwright`, Chromium and the model it serves.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
from playwright.sync_api import sync_playwright

from voxgate import recordings

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "page.png"
MODEL = "moonshine"


def main() -> None:
    chromium = shutil.which("chromium") or sys.exit("Chromium is not installed")
    command = [sys.executable, "-m", "voxgate", "serve", "--port", "0", "--model", MODEL]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = next(found[1] for line in server.stdout if (found := re.search(r"listening on (\S+)", line)))
        with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
            wav = Path(directory) / "speech.wav"
            samples, rate = soundfile.read(recordings.path("reading"), dtype="int16")
            soundfile.write(wav, samples, rate)
            arguments = [
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={wav}",
                "--no-sandbox",
            ]
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            page = browser.new_page(viewport={"width": 1180, "height": 800}, permissions=["microphone"])
            page.goto(url)
            page.get_by_role("button", name="Start").click()
            # Some are answered, and another one is being spoken.
            page.locator('#results li[data-state="final"]').nth(2).wait_for(timeout=60_000)
            page.locator('#results li[data-state="speaking"] .facts, li[data-state="speaking"] .text').first.wait_for()
            page.screenshot(path=PICTURE)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
