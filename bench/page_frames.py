"""What a frame of the page's picture costs after an hour: draws in the system's Chromium, from the page's own modules.

    python bench/page_frames.py [--minutes 60] [--channels 1] [--width 1280]

Prints milliseconds of a draw for a short and a long session, at a few zooms: of the call itself, and until the pixels
are there (here without a graphics card: Chromium paints on the processor). A frame at 60 per second has 16.7 ms.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys

from playwright.sync_api import sync_playwright

SCRIPT = """
async ([minutes, channels, spans]) => {
    const { Timeline } = await import("/web/timeline.js");
    const { Picture } = await import("/web/picture.js");
    const timeline = new Timeline();
    const canvas = document.getElementById("picture");
    const picture = new Picture(canvas, timeline, { select() {}, view() {} });
    const rate = 16000;
    const session = timeline.open("segmented", rate, channels, "simulated");
    session.thresholds = [0.5, 0.35];
    const began_ms = performance.now();
    for (let second = 0; second < minutes * 60; second++) {
        const audio = new Int16Array(rate * channels);
        const loud = second % 5 < 3 ? 12000 : 300;
        for (let i = 0; i < audio.length; i++) audio[i] = (Math.random() * 2 - 1) * loud;
        timeline.addAudio(session, audio, performance.now());
        for (let channel = 0; channel < channels; channel++) {
            const values = Array.from({ length: 31 }, () => (loud > 300 ? 0.9 : 0.1) + Math.random() * 0.05);
            session.receive({ type: "probabilities", step_s: 1 / 31, values, channel }, 0);
            if (second % 5 === 0) session.receive({ type: "active", time: second, channel }, 0);
            if (second % 5 === 3) {
                const [start_time, end_time] = [second - 3, second];
                session.receive({ type: "inactive", time: second, channel }, 0);
                session.receive({ type: "segment", start_time, end_time, is_final: true, text: "words", channel }, 0);
            }
        }
        if (second % 60 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    const filled_ms = performance.now() - began_ms;
    canvas.style.height = `${picture.height}px`;
    await new Promise((resolve) => setTimeout(resolve, 100));
    const found = [];
    for (const span_s of spans) {
        picture.span_s = span_s;
        picture.isFollowing = true;
        const context = canvas.getContext("2d");
        const times = [], calls = [];
        for (let i = 0; i < 200; i++) {
            const before = performance.now();
            picture.draw(before + i);
            calls.push(performance.now() - before);
            context.getImageData(0, 0, 1, 1);  // waits until it is really drawn
            times.push(performance.now() - before);
        }
        times.sort((a, b) => a - b);
        calls.sort((a, b) => a - b);
        found.push([span_s, calls[0], calls[100], times[0], times[100], times[197]]);
    }
    return [filled_ms, found];
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--width", type=int, default=1280)
    args = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("Chromium is not installed")
    command = [
        sys.executable,
        "-m",
        "voxgate",
        "serve",
        "--port",
        "0",
        "--model",
        "dummy",
        "--set",
        "model.warmup_penalty=0",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = next(line.rpartition(" ")[2].strip() for line in server.stdout if "listening on" in line)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for minutes in (0.25, args.minutes):
                page = browser.new_page(viewport={"width": args.width, "height": 900}, device_scale_factor=2)
                page.goto(url)
                spans = [15, 60, 600, 3600]
                filled_ms, found = page.evaluate(SCRIPT, [minutes, args.channels, spans])
                print(f"{minutes:g} minutes, {args.channels} channel(s), {args.width} px; taken in {filled_ms:.0f} ms")
                for span_s, *call, least_ms, median_ms, late_ms in found:
                    print(
                        f"  {span_s:5d} s in view: the call {call[0]:6.2f} ms least, {call[1]:6.2f} median; "
                        f"with the pixels {least_ms:6.2f} least, {median_ms:6.2f} median, {late_ms:6.2f} p99"
                    )
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
