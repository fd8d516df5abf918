"""Records speech by MediaRecorder in real browsers, as test data: python tools/record_browsers.py [chromium] [firefox]

Needs Debian's packages chromium, firefox-esr and pulseaudio. The speech is parts of two bundled recordings:
"demo", in slices of 100 and 250 ms, and "reading", whose words a model recognises, in slices of 250 ms. Chromium
hears it from a fake microphone. Firefox has none that plays a file: a page feeds it to the recorder through Web Audio,
which runs only beside a sound device, here one of a PulseAudio of our own. In tests/data/media and tests/data/reading,
each recording is a .webm or .ogg file; recordings.json has what made it, and the bytes of each slice.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import io
import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile

ROOT = Path(__file__).parents[1]
#: The folder below tests/data, the bundled recording, its part from and to, in seconds, and the slices in ms.
SPEECH = (("media", "demo", (0.0, 6.0), (100, 250)), ("reading", "reading", (18.2, 29.6), (250,)))
BITRATE = 24_000
TIMEOUT_S = 90
TYPES = {
    "chromium": ("audio/webm;codecs=opus",),
    "firefox": ("audio/webm;codecs=opus", "audio/ogg;codecs=opus"),
}
PAGE = """<!DOCTYPE html><title>recording</title><script>
const query = new URLSearchParams(location.search);
const send = (path, body) => fetch(path, {method: "POST", body});
async function stream() {
  if (query.get("device")) {
    const audio = {echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1};
    return navigator.mediaDevices.getUserMedia({audio});
  }
  const context = new AudioContext({sampleRate: 48000});
  const data = await (await fetch("/speech.wav")).arrayBuffer();
  const source = new AudioBufferSourceNode(context, {buffer: await context.decodeAudioData(data)});
  const target = new MediaStreamAudioDestinationNode(context, {channelCount: 1});
  source.connect(target);
  await context.resume();
  return Object.assign(target.stream, {begin: () => source.start()});
}
(async () => {
  const input = await stream();
  const options = {mimeType: query.get("mime"), audioBitsPerSecond: +query.get("bitrate")};
  const recorder = new MediaRecorder(input, options);
  const slices = [];
  recorder.ondataavailable = event => slices.push(event.data);
  recorder.onstop = async () => {
    for (const slice of slices) await send("/slice", await slice.arrayBuffer());
    await send("/done", recorder.mimeType);
  };
  recorder.start(+query.get("slice"));
  if (input.begin) input.begin();
  setTimeout(() => recorder.stop(), 1000 * query.get("seconds"));
})().catch(error => send("/error", String(error)));
</script>"""


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, recording: dict[str, Any], *arguments: Any) -> None:
        self.recording = recording
        super().__init__(*arguments)

    def do_GET(self) -> None:
        is_page = urllib.parse.urlsplit(self.path).path == "/"
        body = PAGE.encode() if is_page else self.recording["wav"]
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if is_page else "audio/wav")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slice":
            self.recording["slices"].append(body)
        elif self.path == "/done":
            self.recording["mime"] = body.decode()
            self.recording["done"].set()
        else:
            self.recording["error"] = body.decode()
            self.recording["done"].set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


def source_of(speech: str) -> Path:
    return ROOT / f"src/voxgate/recordings/{speech}.flac"


def wav_of(speech: str, part: tuple[float, float]) -> bytes:
    begin, end = (int(16_000 * time_s) for time_s in part)
    samples, rate = soundfile.read(source_of(speech), start=begin, stop=end, dtype="int16")
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def command_of(browser: str, url: str, folder: Path, wav: Path) -> list[str]:
    if browser == "chromium":
        return [
            "chromium", "--headless=new", "--no-sandbox", "--no-first-run", f"--user-data-dir={folder}",
            "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={wav}%noloop", url,
        ]  # fmt: skip
    (folder / "user.js").write_text(
        'user_pref("media.autoplay.default", 0);\nuser_pref("media.autoplay.blocking_policy", 0);\n'
        'user_pref("datareporting.policy.dataSubmissionEnabled", false);\n'
    )
    return ["firefox-esr", "--headless", "--no-remote", "--profile", str(folder), url]


@contextlib.contextmanager
def sound_device(folder: Path) -> Iterator[dict[str, str]]:
    """A PulseAudio with a sink that plays nothing; the environment that leads to it."""
    socket = folder / "pulse.socket"
    process = subprocess.Popen(
        ["pulseaudio", "-n", "--exit-idle-time=-1", "--daemonize=no", "--use-pid-file=no", "--disallow-exit",
         "--load=module-null-sink", f"--load=module-native-protocol-unix auth-anonymous=1 socket={socket}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    try:
        for _ in range(100):
            if socket.exists():
                break
            time.sleep(0.1)
        yield {"PULSE_SERVER": f"unix:{socket}"}
    finally:
        process.terminate()
        process.wait()


def record(browser: str, mime: str, slice_ms: int, speech: str, part: tuple[float, float]) -> dict[str, Any]:
    recording: dict[str, Any] = {"wav": wav_of(speech, part), "slices": [], "done": threading.Event()}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, recording))
    threading.Thread(target=server.serve_forever, daemon=True).start()  # noqa: TID251
    query = {"mime": mime, "slice": slice_ms, "seconds": part[1] - part[0] + 0.5, "bitrate": BITRATE}
    if browser == "chromium":
        query["device"] = 1
    url = f"http://127.0.0.1:{server.server_port}/?{urllib.parse.urlencode(query)}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        wav = Path(folder) / "speech.wav"
        wav.write_bytes(recording["wav"])
        profile = Path(folder) / "profile"
        profile.mkdir()
        with sound_device(Path(folder)) if browser == "firefox" else contextlib.nullcontext({}) as device:
            process = subprocess.Popen(
                command_of(browser, url, profile, wav),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **device},
            )  # fmt: skip
            try:
                if not recording["done"].wait(TIMEOUT_S):
                    raise SystemExit(f"{browser} sent no recording within {TIMEOUT_S} s")
            finally:
                process.terminate()
                process.wait()
                server.shutdown()
                server.server_close()
    if "error" in recording:
        raise SystemExit(f"{browser}: {recording['error']}")
    return recording


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("browsers", nargs="*", metavar="BROWSER", help=", ".join(TYPES))
    parser.add_argument("--speech", choices=[speech for _, speech, _, _ in SPEECH], help="only of this recording")
    arguments = parser.parse_args()
    for folder, speech, part, slices in SPEECH:
        if arguments.speech in (None, speech):
            write(ROOT / "tests/data" / folder, arguments.browsers or list(TYPES), speech, part, slices)


def write(out: Path, browsers: Sequence[str], speech: str, part: tuple[float, float], slices: Sequence[int]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    index = out / "recordings.json"
    made: dict[str, Any] = json.loads(index.read_text()) if index.exists() else {}
    for browser in browsers:
        name = "chromium" if browser == "chromium" else "firefox-esr"
        version = subprocess.run([name, "--version"], capture_output=True, text=True).stdout.strip()
        for mime, slice_ms in itertools.product(TYPES[browser], slices):
            recording = record(browser, mime, slice_ms, speech, part)
            container = mime.removeprefix("audio/").partition(";")[0]
            file = f"{browser}-{slice_ms}ms.{container}"
            (out / file).write_bytes(b"".join(recording["slices"]))
            made[file] = {
                "browser": version,
                "recorded": time.strftime("%Y-%m-%d"),
                "mime": recording["mime"],
                "slice_ms": slice_ms,
                "source": f"{source_of(speech).relative_to(ROOT)}, {part[0]:g} to {part[1]:g} s",
                "slice_bytes": [len(data) for data in recording["slices"]],
            }
            index.write_text(json.dumps(dict(sorted(made.items())), indent=1) + "\n")
            print(file, len(recording["slices"]), "slices,", sum(made[file]["slice_bytes"]), "bytes")


if __name__ == "__main__":
    main()
