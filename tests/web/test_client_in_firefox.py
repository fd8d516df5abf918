"""`@voxgate/client` in a real Firefox: bytes, and a microphone where PulseAudio gives Web Audio a device."""

from __future__ import annotations

import http.server
import json
import os
import queue
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.javascript import SOURCE, serve_folder
from tools.record_browsers import sound_device

FIREFOX = next(filter(None, map(shutil.which, ("firefox", "firefox-esr"))), None)
TIMEOUT_S = 60

# Where Chromium has to be there, so has Firefox.
pytestmark = pytest.mark.skipif(
    FIREFOX is None and os.environ.get("REQUIRE_CHROMIUM") != "1", reason="Firefox is not installed"
)

PREFERENCES = {
    "media.navigator.streams.fake": True,  # a microphone that hears a tone
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
}
PAGE = """<!doctype html><script type="module">
import { Microphone, recordedKind, serverInfo, stream } from "./client/index.js";
const query = new URLSearchParams(location.search);
const url = query.get("server");
const listen = async (source, options) => {
  const events = [];
  const all = stream(source, { url, notices: true, ...options });
  for await (const event of all) {
    events.push(event);
    if (!options.format && event.type === "segment") all.stop(); // it has heard something
  }
  return { events, sent_s: all.sent_s };
};
const ways = {
  bytes: () => listen(new Blob([new Uint8Array(64000)]).stream(), { format: { sample_rate: 16000 } }),
  microphone: async () => listen(await Microphone.open(), {}),
  opus: async () => {
    const recorded = recordedKind((await serverInfo(url)).containers);
    return listen(await Microphone.open({ recorded }), {});
  },
};
const told = await ways[query.get("way")]().catch((error) => ({ error: String(error) }));
await fetch("/told", { method: "POST", body: JSON.stringify(told) });
</script>
"""


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``visit(serve, way)``: what the page told of one of its ways."""
    told: queue.Queue[Any] = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    site, profile = tmp_path / "site", tmp_path / "profile"
    site.mkdir()
    profile.mkdir()
    (site / "client").symlink_to(SOURCE)
    (site / "index.html").write_text(PAGE)
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    with serve_folder(site, Handler) as origin:

        def go(serve: Any, way: str, environment: dict[str, str] | None = None) -> Any:
            server = serve(lambda audio: {"count": len(audio)}, **{"auth.origins": origin})
            address = f"{origin}/?way={way}&server={server.url('simple')}"
            process = subprocess.Popen(
                [str(FIREFOX), "--headless", "--no-remote", "--profile", profile, address],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
            )
            try:
                return told.get(timeout=TIMEOUT_S)
            finally:
                process.terminate()
                process.wait(TIMEOUT_S)

        yield go


def bounds(told: Any) -> list[tuple[float, float]]:
    return [(event["start_time"], event["end_time"]) for event in told["events"] if event["type"] == "segment"]


def test_a_stream_of_bytes(serve: Any, visit: Any) -> None:
    told = visit(serve, "bytes")
    assert "error" not in told
    assert (bounds(told)[0][0], bounds(told)[-1][1], told["sent_s"]) == (0, 2, 2)


@pytest.mark.skipif(shutil.which("pulseaudio") is None, reason="PulseAudio is not installed")
@pytest.mark.parametrize("way", ["microphone", "opus"])
def test_a_microphone(serve: Any, visit: Any, way: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if way == "opus":
        pytest.importorskip("av")
    with sound_device(tmp_path_factory.mktemp("pulse")) as environment:
        told = visit(serve, way, environment)
    assert "error" not in told
    (started,) = [event for event in told["events"] if event["type"] == "started"]
    assert started.get("format", {}).get("container") == ("webm" if way == "opus" else None)
    assert bounds(told)[0][0] == 0
    assert bounds(told)[-1][1] == pytest.approx(told["sent_s"], abs=0.002) != 0
