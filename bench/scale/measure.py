"""Measures what the simulation takes as given, and writes it to `bench/scale/costs.json`.

    python -m bench.scale.measure [--only edge model speech]

edge     CPU of a message, by bench/message_cost.py on this machine; latency over the load, and the way to Ray, from the
         tables of docs/performance.md, which need an idle machine and minutes (make bench-curves, make bench-cluster)
model    CPU time of moonshine for batches of 1 to 8 items of 1 to 7 s of the bundled human speech
speech   spurts and pauses of the bundled recordings, by Silero
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from . import costs as files

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
MESSAGES_PER_S = 50
MANY_STREAMS = 200
"""From here on, the cost of a message is about the same."""


def of_curves(curves: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The points of the curve with many streams, and the latencies at shares of the capacity, from their tables."""
    quantiles = r"([\d.]+) / ([\d.]+)(?: / [\d.]+)* ms"
    row = re.compile(rf"^\| (\d+) \| [\d.]+ \| ([\d.]+) % \|[^|]*\| {quantiles}", re.MULTILINE)
    points = [
        {"streams": int(n), "busy": float(busy) / 100, "p50_ms": float(p50), "p99_ms": float(p99)}
        for n, busy, p50, p99 in row.findall(curves)
        if int(n) >= MANY_STREAMS
    ]
    checks = [
        {
            "percent": int(percent),
            "streams": int(n),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "busy": float(busy) / 100,
        }
        for percent, n, p50, p99, busy in re.findall(
            r"^\| (\d+) % \| (\d+) \| ([\d.]+) ms \| ([\d.]+) ms \|(?:[^|%\n]*\|)? (\d+) % \|", curves, re.MULTILINE
        )
    ]
    return points, checks


def edge() -> dict[str, Any]:
    text = PAGE.read_text(encoding="utf-8")
    curves = text[text.index("<!-- cost curves: begin -->") : text.index("<!-- cost curves: end -->")]
    points, checks = of_curves(curves)
    busy = [point["busy"] for point in points]
    # Few streams cost more each, because they share fewer wake-ups: this is what the line has without any.
    per_stream, idle = (float(value) for value in np.polyfit([point["streams"] for point in points], busy, 1))
    p50 = files.fit_queue(busy, [point["p50_ms"] / 1000 for point in points])
    p99 = files.fit_queue(busy, [point["p99_ms"] / 1000 for point in points])
    fit = {
        "stream_s": per_stream, "idle": idle, "p50_base_s": p50[0], "p50_slope_s": p50[1], "p99_base_s": p99[0],
        "p99_slope_s": p99[1],
    }  # fmt: skip
    where = re.search(r"`make bench-curves`, [^\n]*?Python [\d.]+", curves)
    hops = re.findall(r"^\| (\d+) x ([\d.]+) s \([^)]*\) \|.*\| ([\d.]+) ms \|$", text, re.MULTILINE)
    hop_points = [{"audio_s": int(n) * float(s), "ms": float(ms)} for n, s, ms in hops]
    second_s, hop_s = np.polyfit([p["audio_s"] for p in hop_points], [p["ms"] / 1000 for p in hop_points], 1)
    return {
        "from": f"docs/performance.md: {where[0] if where else 'cost curves'}",
        "points": points,
        "checks": checks,
        "fit": fit,
        "hop": {"from": "docs/performance.md: make bench-cluster, other node", "points": hop_points,
                "hop_s": float(hop_s), "hop_second_s": float(second_s)},
        "message_here_us": message_us(),
    }  # fmt: skip


def message_us(streams: int = 400) -> float:
    command = [sys.executable, "bench/message_cost.py", "--streams", str(streams), "--rounds", "2", "--seconds", "2"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout
    return float(re.search(r"([\d.]+) us of CPU per message", text)[1])  # type: ignore[index]


def model(times: int = 3) -> dict[str, Any]:
    from voxgate import recordings
    from voxgate.audio import read_audio
    from voxgate.models import Batch
    from voxgate.models.moonshine import Moonshine

    planes, rate = read_audio(recordings.path("reading"))
    speech, asr = np.asarray(planes[0], np.float32), Moonshine()
    asr.warm_up()
    dice, points = np.random.default_rng(1), []
    for n_items in (1, 2, 4, 8):
        for seconds in (1.0, 2.0, 4.0, 7.0):
            took_s = []
            for _ in range(times):
                starts = dice.integers(0, len(speech) - int(seconds * rate), n_items)
                batch = Batch.gather([speech[at : at + int(seconds * rate)] for at in starts])
                began_s = time.thread_time()
                asr.infer_batch(batch)
                took_s.append(time.thread_time() - began_s)
            points.append({"items": n_items, "audio_s": n_items * seconds, "s": statistics.median(took_s)})
    fit = files.fit_model(*([point[name] for point in points] for name in ("items", "audio_s", "s")))
    worst = max(abs(fit.of(p["items"], p["audio_s"]) / p["s"] - 1) for p in points)
    return {"name": "moonshine", "points": points, "fit": asdict(fit), "worst": worst}


def speech() -> dict[str, Any]:
    from voxgate import recordings, vad
    from voxgate.audio import read_audio

    found: dict[str, Any] = {}
    fine = vad.VadConfig(silence_duration_ms=96, prefix_padding_ms=0, suffix_padding_ms=0)
    for name in ("demo", "reading"):
        planes, rate = read_audio(recordings.path(name))
        spurts = vad.segments(planes[0], rate, fine)
        length_s = len(planes[0]) / rate
        starts, ends = [s for s, _ in spurts], [e for _, e in spurts]
        pauses = [b - a for a, b in zip(ends, [*starts[1:], length_s + starts[0]], strict=True)]
        found[name] = {"on_s": [e - s for s, e in spurts], "off_s": pauses, "first_s": starts[0], "length_s": length_s}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=["edge", "model", "speech"], default=["edge", "model", "speech"])
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tools"))
    import sections

    costs = files.load() if files.FILE.exists() else {}
    for part in args.only:
        print(f"{part} ...", flush=True)
        costs[part] = globals()[part]()
    costs["measured"] = sections.here()
    text = json.dumps(json.loads(json.dumps(costs), parse_float=lambda number: float(f"{float(number):.5g}")), indent=1)
    files.FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
