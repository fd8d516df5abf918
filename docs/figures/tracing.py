"""One real trace as a waterfall, and what spans cost.

    python docs/figures/tracing.py

Starts a server with a slow model that batches, sends three live streams through it, and takes their spans with an OTLP
receiver. Writes docs/images/tracing-waterfall.svg (one stream's trace, and the batches it shared), and the costs
into docs/series/8-tracing.md.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests"), str(ROOT / "src")]

import numpy as np
import plots
import sections
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from helpers.otlp import Collector, Received
from voxgate.audio.files.read import read_audio
from voxgate.client import stream
from voxgate.inference.engine.base import Job
from voxgate.observe.tracing import SessionTrace, Tracing
from voxgate.recordings import path

PAGE = ROOT / "docs/series/8-tracing.md"
AUDIO_S = 6.6
STREAMS = 3
APART_S = 0.12
SETTINGS = {
    "model.delay": 0.2,
    "model.constant_factor": 0,
    "model.item_delay": 0.03,
    "model.jitter": 0,
    "model.panic_rate": 0,
    "model.warmup_penalty": 0,
    "inference.threads": 1,
}
ROUNDS, UTTERANCES = 7, 400


@contextmanager
def server(environ: dict[str, str]) -> Iterator[int]:
    command = [sys.executable, "-m", "voxgate", "serve", "--model", "dummy", "--port", "0", "--log-level", "warning"]
    for key, value in SETTINGS.items():
        command += ["--set", f"{key}={value}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOXGATE_", "OTEL_"))}
    environ = kept | environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r":(\d+)\s*$", process.stdout.readline())
        assert found is not None
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


async def talk(port: int) -> None:
    planes, rate = read_audio(path("demo"))
    audio = planes[:, : int(AUDIO_S * rate)]

    async def one(number: int) -> None:
        await asyncio.sleep(APART_S * number)
        async for _ in stream(
            (audio, rate), addr=f"ws://127.0.0.1:{port}", real_time=True, interim_results=True, chunk_size=640
        ):
            pass

    await asyncio.gather(*(one(number) for number in range(STREAMS)))


def real_trace() -> tuple[list[Received], list[Received]]:
    """The spans of the stream that shared most, in the order of a tree, and the batches which they were part of."""
    collector = Collector("http/protobuf")
    try:
        with server(collector.environ) as port:
            asyncio.run(talk(port))
        spans = collector.wait_for(*["session"] * STREAMS)
    finally:
        collector.stop()
    sessions = [span for span in spans if span.name == "session"]
    n_links = {span.trace_id: 0 for span in sessions}
    for span in spans:
        if span.name == "run":
            n_links[span.trace_id] += len(span.links)
    session = max(sessions, key=lambda span: n_links[span.trace_id])
    mine = [span for span in spans if span.trace_id == session.trace_id]
    linked = {link for span in mine for link in span.links}
    batches = [span for span in spans if span.id in linked]

    def below(parent: Received) -> Iterator[Received]:
        yield parent
        for child in sorted((span for span in mine if span.parent_id == parent.id), key=lambda span: span.start_ns):
            yield from below(child)

    return list(below(session)), sorted(batches, key=lambda span: span.start_ns)


def draw(spans: list[Received], batches: list[Received]) -> None:
    began_ns = spans[0].start_ns

    def times(span: Received) -> tuple[float, float]:
        return (span.start_ns - began_ns) / 1e9, (span.end_ns - span.start_ns) / 1e9

    of_call: dict[str, list[Received]] = {}
    for span in spans:
        if span.name in ("queue", "run"):
            of_call.setdefault(span.parent_id, []).append(span)
    rows = [span for span in spans if span.name in ("session", "utterance", "inference")] + batches
    figure, axes = plots.pyplot().subplots(figsize=plots.size(0.22 * len(rows) + 0.9), layout="constrained")
    colours = {"session": plots.OUTSIDE, "utterance": "#bfdbfe", "queue": plots.WAITS, "run": plots.OURS}
    indents = {"session": "", "utterance": "   ", "inference": "      ", "batch": ""}
    labels, seen = [], set()
    for row, span in enumerate(rows):
        parts = of_call.get(span.id, []) if span.name == "inference" else [span]
        for part in parts:
            start_s, length_s = times(part)
            colour = colours.get(part.name, "#93c5fd")
            label = part.name if part.name in ("queue", "run") and part.name not in seen else None
            seen.add(part.name)
            axes.barh(row, length_s, left=start_s, height=0.62, color=colour, label=label)
        end_s = sum(times(span))
        text = ""
        if span.name == "inference":
            run = next((part for part in parts if part.name == "run"), None)
            size = run.attributes["voxgate.batch.size"] if run else 0
            outcome = span.attributes["voxgate.outcome"]
            text = (f"with {size - 1} other{'s' * (size > 2)}" if size > 1 else "") + (
                f" {outcome}" if outcome != "ok" else ""
            )
        elif span.name == "batch":
            text = f"{span.attributes['voxgate.batch.size']} calls of {len(set(span.links))} streams"
        axes.text(end_s + 0.05, row, text.strip(), va="center", fontsize=7)
        kind = "" if span.name != "inference" else " (final)" if span.attributes["voxgate.final"] else " (interim)"
        labels.append(f"{indents[span.name]}{span.name}{kind}")
    axes.set_yticks(range(len(rows)), labels, family="monospace", fontsize=8)
    for tick in axes.get_yticklabels():
        tick.set_horizontalalignment("left")
    axes.tick_params(axis="y", pad=128, length=0)
    axes.axhline(len(rows) - len(batches) - 0.5, color=plots.OUTSIDE, linewidth=0.8, linestyle=":")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds since the session began")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    plots.save(figure, "tracing-waterfall")


# What it costs

MESSAGES_A_S = 50


class Nowhere(SpanExporter):
    """Where the spans go whose making is measured."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def a_job() -> Job:
    job = Job(np.zeros(1, np.float32), 16_000, True, None, lambda job: None)
    job.taken_s, job.run_s, job.batch_size, job.attempts = time.perf_counter(), 0.1, 1, 1
    return job


def us(run: Callable[[], object], times: int) -> float:
    """Microseconds of this thread's CPU for one of `times`; the best of a few rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for _ in range(times):
            run()
        rounds.append((time.thread_time() - began_s) / times * 1e6)
    return min(rounds)


def costs() -> list[str]:
    def utterance(session: SessionTrace) -> None:
        """With an interim and a final: what the runner calls for them."""
        session.speech_started(0, 0.1)
        session.asked(0, 0.1, 1.1, False, "infer").answered(a_job())
        session.speech_ended(0, 3.1, True)
        session.asked(0, 0.1, 3.1, True, "infer").answered(a_job())

    tracing = Tracing(Nowhere())
    session = tracing.session(None, {"voxgate.route": "segmented"})
    assert session is not None
    jobs_us = us(lambda: (a_job(), a_job()), UTTERANCES)
    made_us = us(lambda: utterance(session), UTTERANCES) - jobs_us
    message_us = us(lambda: tracing.begin("message", session.span, {"bytes": 640}).end(), UTTERANCES)
    asyncio.run(tracing.stop())

    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    session = tracing.session(None, {"voxgate.route": "segmented"})
    assert session is not None
    utterance(session)
    asyncio.run(tracing.stop())
    spans = exporter.get_finished_spans()
    encoded_us = us(lambda: encode_spans(spans).SerializeToString(), UTTERANCES)

    os.environ["OTEL_TRACES_SAMPLER"] = "always_off"
    unsampled = Tracing(InMemorySpanExporter())
    refused_us = us(lambda: unsampled.session(None, {"voxgate.route": "segmented"}), UTTERANCES)
    asyncio.run(unsampled.stop())
    n_messages = 3 * MESSAGES_A_S
    return [
        "| | microseconds of CPU |",
        "|---|---|",
        f"| an utterance with an interim and a final: {len(spans)} spans, made on the loop | {made_us:.0f} |",
        f"| the same spans written in OTLP, on the exporter's thread | {encoded_us:.0f} |",
        f"| instead, a span for each of {n_messages} messages, 3 s of audio | {n_messages * message_us:.0f} |",
        f"| a session that the sampler leaves out, once | {refused_us:.1f} |",
    ]


def main() -> None:
    draw(*real_trace())
    sections.figures("tracing", PAGE, "\n".join(costs()))


if __name__ == "__main__":
    main()
