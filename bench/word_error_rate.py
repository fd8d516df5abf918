"""The word error rate of a recogniser on the bundled human speech: through the server at live pace, and offline on the
segments that the server cut. Under load moonshine decodes several streams together, whose rounding differs:
--set model.batch=false compares without that.

    python bench/word_error_rate.py [--model moonshine] [--set model.KEY=VALUE] [--streams 1 8 16] [--interims]

The server runs in a process of its own; the streams are spread over half a second. Prints a Markdown table; exit code 1
when a rate exceeds 5 %, when the two differ by more than half a percent, or when a text of a lone stream differs from
the one of the same samples offline.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from server_process import ServerProcess

from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.client import stream
from voxgate.config import load_config
from voxgate.errors import VoxgateError
from voxgate.inference.engine.invoker import Invoker
from voxgate.models import Batch, Model, load_model
from voxgate.protocol.events import Error, Segment
from voxgate.recordings.word_errors import WordErrors, count_word_errors

RECORDING = "reading"
GOAL, NOISE = 0.05, 0.005
REFERENCE = " ".join(said.text for said in recordings.truth(RECORDING)[0])


async def one(url: str, delay_s: float, interims: bool) -> list[Segment]:
    """The finals of one stream at live pace. RuntimeError for an error event."""
    await asyncio.sleep(delay_s)
    finals = []
    async for event in stream(recordings.path(RECORDING), addr=url, real_time=True, interim_results=interims):
        if isinstance(event, Error):
            raise RuntimeError(event.message)
        if isinstance(event, Segment) and event.is_final:
            finals.append(event)
    return finals


async def together(url: str, n_streams: int, interims: bool) -> list[list[Segment]]:
    return await asyncio.gather(*(one(url, 0.5 * index / n_streams, interims) for index in range(n_streams)))


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def made_warm(model: Model) -> None:
    answer = model.warm_up()
    if inspect.isawaitable(answer):
        await answer


async def offline(model: Model, finals: list[Segment]) -> tuple[list[str], float, float]:
    """The texts of the same samples without a server, and the CPU time and the seconds of audio."""
    samples, rate = read_audio(recordings.path(RECORDING))
    if rate != model.sample_rate:
        raise SystemExit(f"the model wants {model.sample_rate} Hz and the recording has {rate} Hz")
    pieces = [samples[0, round(final.start_time * rate) : round(final.end_time * rate)].copy() for final in finals]
    began_s = time.process_time()
    invoker, texts = Invoker(model), []
    for piece in pieces:
        (outcome,) = (await invoker.invoke_async(Batch.gather([piece]))).outcomes
        if isinstance(outcome, VoxgateError):
            raise RuntimeError(str(outcome))
        texts.append(str(outcome["text"]) if outcome else "")
    return texts, time.process_time() - began_s, sum(map(len, pieces)) / rate


def errors_of(texts: list[str]) -> WordErrors:
    return count_word_errors(REFERENCE, " ".join(texts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moonshine")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--interims", action="store_true", help="ask for interim results too")
    args = parser.parse_args()
    settings: dict[str, Any] = dict(text.split("=", 1) for text in args.set)
    config = load_config(environ={}, overrides={"model": args.model, **settings})
    model = load_model(config.model.name, config.model.options)
    runner = asyncio.Runner()  # one loop for a model that is asynchronous
    runner.run(made_warm(model))
    good = True
    print("| streams | segments | word error rate, live | offline | same texts | server CPU | offline, CPU per audio |")
    print("|---|---|---|---|---|---|---|")
    with ServerProcess({"model": args.model, **settings}) as server:
        for n_streams in args.streams:
            before_s, began_s = cpu_s(server.pid), time.monotonic()
            found = asyncio.run(together(server.url("segmented"), n_streams, args.interims))
            load = (cpu_s(server.pid) - before_s) / (time.monotonic() - began_s)
            live, alone = WordErrors(0, 0, 0, 0), WordErrors(0, 0, 0, 0)
            n_same, n_segments, used_s, audio_s = 0, 0, 0.0, 0.0
            for finals in found:
                texts = [str(final.output["text"]) for final in finals]
                expected, used, audio = runner.run(offline(model, finals))
                live, alone = live + errors_of(texts), alone + errors_of(expected)
                n_same += sum(text == other for text, other in zip(texts, expected, strict=True))
                n_segments, used_s, audio_s = n_segments + len(texts), used_s + used, audio_s + audio
            good = good and n_segments > 0 and live.rate <= GOAL and abs(live.rate - alone.rate) <= NOISE
            good = good and (n_streams > 1 or n_same == n_segments)
            print(
                f"| {n_streams} | {n_segments} | {live.rate:.1%} ({live.total} of {live.reference} words)"
                f" | {alone.rate:.1%} | {n_same} of {n_segments} | {load:.0%} of a core | {used_s / audio_s:.3f} |",
                flush=True,
            )
    print(f"\n{args.model}, {'with' if args.interims else 'without'} interims; {os.cpu_count()} CPUs")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
