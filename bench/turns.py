"""How long after the last word does the final come? Silence, speculation and turn detectors compared.

    python bench/turns.py [--plan] [--quick] [--only TEXT ...] [--smart-turn FILE] [--out build/turns.json]

A server in a process of its own, and streams at live pace in this one, in messages of 20 ms. They play conversations
made from human speech, with pauses inside the sentences, of two or three kinds in turns (bench/turn_material.py says
how they are made); the first two of each run play the bundled recording as it is. Each setting is measured with
moonshine and with a model that takes 300 ms, with a few streams, and with as many as keep the model busy for 50 or 80 %
of the time when it is called for finals alone. At the end the model of 300 ms gets as much work as it can do, with and
without speculation.

Times are from the end of the last word, which is known from an alignment, to the arrival of the final. Prints Markdown;
`python bench/turn_report.py build/turns.json` writes it into the documents. A run that does not end writes nothing.
--plan prints what would run, and for how long. Exit code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

import numpy as np
import sections
import turn_answers
import turn_material as material
import turn_report
import uvloop
from server_process import ServerProcess
from turn_cases import BASE, BENCH, DEFAULT, FIXED, MODELS, ModelCase, Setting, server_settings, settings
from turn_player import CHUNK_MS, Part, Played, frames_of, play
from turn_score import Score, silence_window_s
from word_error_rate import cpu_s

from voxgate.load.quantiles import quantiles
from voxgate.vad.turns.loader import load_turn_detector

SECONDS, LOADED_SECONDS, QUICK_SECONDS = 26.0, 17.0, 14.0
"""The least length of a conversation: of few streams, under load, and in a quick run."""
QUICK_SETTINGS = (BASE, DEFAULT, "smart-turn, early speculation")
WARM_S = 8.0
"""Under load, times count from here on until the first stream ends: all streams speak then."""
FEW = 8
"""Streams that make no load: two for each kind of material."""
START_S = 3.0
"""What the start and the end of a server take, about."""
N_READING = 2
READING_APART_S = 2.3
"""Between two streams that play the same recording, so that their sentences do not end together."""
GOLDEN = 0.618033988749895
"""Its multiples, modulo 1, are spread evenly."""
MOST = 400
SOME = 40
"""Streams whose scripts stand for those of all."""
SATURATED = 100
SMART_TURN = ROOT / "build" / "smart-turn" / "smart-turn-v3.2-cpu.onnx"


@cache
def script_of(number: int, seconds: float) -> tuple[material.Script, tuple[bytes, ...]]:
    """What the stream of this number plays: the recording, then conversations of both kinds in turns."""
    script = (
        material.reading(seconds if seconds < SECONDS else math.inf)
        if number < N_READING
        else material.conversation(number, seconds, kind_of(number))
    )
    return script, frames_of(script)


def kind_of(number: int) -> str:
    """Of the conversation that the stream of this number plays."""
    return material.KINDS[number % len(material.KINDS)]


def parts_of(url: str, setting: Setting, n_streams: int, seconds: float) -> list[Part]:
    """The same streams for each setting. Their messages are spread over the length of one."""
    return [Part(url, *script_of(number, seconds), begins_s(number), setting.interims) for number in range(n_streams)]


def begins_s(number: int) -> float:
    """When the stream of this number begins."""
    return CHUNK_MS / 1000 * (number * GOLDEN % 1) + READING_APART_S * (0 < number < N_READING)


async def watched(
    servers: Sequence[ServerProcess], parts: Sequence[Part], until_s: float
) -> tuple[list[Played], list[float], list[list[dict[str, float]]]]:
    """What `play` returns, and the metrics of each server at WARM_S and at `until_s`."""
    began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    playing = asyncio.create_task(play(parts, began))
    await asyncio.wait({playing, began}, return_when=asyncio.FIRST_COMPLETED)
    metrics = []
    for wait_s in (WARM_S, until_s - WARM_S):
        await asyncio.sleep(wait_s)
        metrics.append([await asyncio.to_thread(timed_metrics, server) for server in servers])
    played, late_s = await playing
    return played, late_s, metrics


def timed_metrics(server: ServerProcess) -> dict[str, float]:
    """With their time, in seconds, as ``time``."""
    return {**server.metrics(), "time": time.perf_counter()}


def busy(at: dict[str, float], model: ModelCase) -> float:
    """The share of the time in which the threads of the model worked. at: a difference of timed metrics."""
    return round(model_s(at) / (model.threads * at["time"]), 4)


def run(model: ModelCase, chosen: Sequence[Setting], load: int, n_streams: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each setting; their servers run at the same time."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(ServerProcess(server_settings(model, setting), variables={"PYTHONPATH": str(BENCH)}))
            for setting in chosen
        ]
        parts = [
            part
            for server, setting in zip(servers, chosen, strict=True)
            for part in parts_of(server.url("segmented"), setting, n_streams, seconds)
        ]
        before = [(server.metrics(), cpu_s(server.pid)) for server in servers]
        began_s = time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            played, late_s, at = runner.run(watched(servers, parts, seconds))
        took_s = time.perf_counter() - began_s
        late = quantiles(late_s)
        assert late is not None
        rows = []
        for number, (server, setting) in enumerate(zip(servers, chosen, strict=True)):
            metrics, used_s = before[number]
            first, last = (metrics_of[number] for metrics_of in at)
            window = (WARM_S, seconds) if load else (0.0, math.inf)
            rows.append(
                {
                    "model": model.name,
                    "setting": setting.name,
                    "load": load,
                    "n_streams": n_streams,
                    **scored(played[number * n_streams : (number + 1) * n_streams], setting, window),
                    **counted(difference(metrics, server.metrics())),
                    "busy": busy(difference(first, last), model),
                    "cores": round((cpu_s(server.pid) - used_s) / took_s, 3),
                    "late_p99_ms": late.p99,
                }
            )
    for row in rows:
        print(turn_report.line(row), file=sys.stderr, flush=True)
    return rows


def scored(played: Sequence[Played], setting: Setting, window_s: tuple[float, float]) -> dict[str, Any]:
    """What the finals say: of the readings, of each kind of conversation, and of both. Raises RuntimeError when a
    stream failed.
    """
    failures = [stream.failure for stream in played if stream.failure is not None]
    n_errors = sum(stream.n_errors for stream in played)
    if failures or n_errors:
        raise RuntimeError(f"{n_errors} errors, {len(failures)} streams failed: {failures[:3]}")
    scores: dict[str, Score] = {name: Score() for name in ("reading", *material.KINDS, "conversation")}
    for number, stream in enumerate(played):
        names = ("reading",) if number < N_READING else (kind_of(number), "conversation")
        for name in names:
            scores[name].add(stream.part.script, stream.finals, setting.silence_ms, *window_s)
    return {name: turn_report.summary(score) for name, score in scores.items()}


def difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def total(found: dict[str, float], name: str, label: str = "") -> float:
    """Of all samples of this name that have this label."""
    return sum(value for key, value in found.items() if key.partition("{")[0] == name and label in key)


def model_s(found: dict[str, float]) -> float:
    return total(found, "voxgate_stage_seconds_sum", 'stage="model"')


def counted(found: dict[str, float]) -> dict[str, Any]:
    """What the server says: the calls that ran, and their time."""

    def by(name: str, label: str, *values: str) -> dict[str, int]:
        return {value: round(total(found, name, f'{label}="{value}"')) for value in values}

    return {
        "calls": by("voxgate_queue_wait_seconds_count", "lane", "final", "speculative", "interim"),
        "speculations": by("voxgate_speculations_total", "outcome", "made", "used", "wasted", "withdrawn"),
        "answers": by(
            "voxgate_turn_answers_total",
            "outcome",
            *("finished", "unsure", "unfinished", "late", "failed", "refused", "no_text"),
        ),
        "model_s": round(model_s(found), 3),
    }


def streams_for(load: int, model: ModelCase, rows: Sequence[dict[str, Any]], seconds: float) -> int:
    """How many streams make this load, by the largest load of BASE that was measured."""
    base = max(
        (row for row in rows if (row["model"], row["setting"]) == (model.name, BASE)),
        key=lambda row: int(row["n_streams"]),
    )
    of_a_turn_s = base["model_s"] / turn_report.n_sentences(base)
    n_streams = round(load / 100 * model.threads * cycle_s(seconds) / of_a_turn_s)
    return min(MOST, max(FEW, n_streams))


@cache
def cycle_s(seconds: float) -> float:
    """The mean time from the end of a turn to the end of the next."""
    ends_s = [[turn.end_s for turn in script_of(number, seconds)[0].turns] for number in range(N_READING, SOME)]
    return float(np.mean(np.concatenate([np.diff(of_one) for of_one in ends_s])))


def measure(model: ModelCase, chosen: Sequence[Setting], lengths: Lengths, only: Sequence[str]) -> list[dict[str, Any]]:
    """All rows of a model. BASE is measured at every load, because it finds the number of streams."""
    rows: list[dict[str, Any]] = []
    for load in model.loads:
        seconds = lengths.of(load)
        n_streams = streams_for(load, model, rows, seconds) if rows else FEW
        for group in groups_of(model, chosen, load, only):
            rows += run(model, group, load, n_streams, seconds)
    return rows


def groups_of(model: ModelCase, chosen: Sequence[Setting], load: int, only: Sequence[str]) -> list[list[Setting]]:
    """The settings that run at this load, those together whose servers run at the same time."""
    wanted = [
        setting
        for setting in chosen
        if load in setting.loads
        and model.name in setting.models
        and (setting.name == BASE or is_wanted(f"{model.name}, {setting.name}, {load} %", only))
    ]
    if model.has_processor:
        # Of few streams, those that wait for silence alone leave room for each other.
        together = [setting for setting in wanted if setting.is_short_silence and not load]
        apart = [setting for setting in wanted if setting not in together]
        return [[setting] for setting in apart[:1]] + [together] * bool(together) + [[setting] for setting in apart[1:]]
    # Servers that only sleep do not disturb each other.
    together = [setting for setting in wanted if not (setting.computes and load)]
    return [together, *([setting] for setting in wanted if setting not in together)]


def plan(
    models: Sequence[ModelCase], chosen: Sequence[Setting], lengths: Lengths, only: Sequence[str], saturates: bool
) -> list[tuple[str, float]]:
    """The runs, and how long each takes, in seconds: its longest stream, and the start of its servers."""
    found = [
        (
            f"{model.name}, {load} %: {'; '.join(setting.name for setting in group)}",
            longest_s(lengths.of(load), SOME if load else FEW) + START_S * len(group),
        )
        for model in models
        for load in model.loads
        for group in groups_of(model, chosen, load, only)
    ]
    full_s = longest_s(lengths.of(SATURATED), SOME) + 4 * START_S
    return [*found, (f"{FIXED.name}, as much as it can do", full_s)] if saturates else found


@cache
def longest_s(seconds: float, n_streams: int) -> float:
    """When the last of the streams ends."""
    return max(
        begins_s(number) + len(script_of(number, seconds)[0].samples) / material.RATE_HZ for number in range(n_streams)
    )


@dataclass(frozen=True)
class Lengths:
    """The least lengths of conversations."""

    few_s: float
    loaded_s: float

    def of(self, load: int) -> float:
        return self.loaded_s if load else self.few_s


def is_wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(text in name for text in only)


def saturate(rows: Sequence[dict[str, Any]], chosen: Sequence[Setting], seconds: float) -> list[dict[str, Any]]:
    """Twice with speculation and twice without, at the same time: the second of each tells the noise."""
    base, default = (next(setting for setting in chosen if setting.name == name) for name in (BASE, DEFAULT))
    n_streams = streams_for(SATURATED, FIXED, rows, seconds)
    return run(FIXED, [base, default, base, default], SATURATED, n_streams, seconds)


def decided(smart_turn: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """What detectors cut without a clock: more sentences than can be played in this time."""
    return {"smart-turn": turn_answers.cuts("smart-turn", load_turn_detector(f"smart-turn:{smart_turn}"))}


def described(seconds: float) -> dict[str, Any]:
    """The material, for the report."""
    ends_s = [words[-1][2] for words in material.sentences()]
    return {
        "seconds": seconds,
        "pause_median_s": material.PAUSE_MEDIAN_S,
        "pause_sigma": material.PAUSE_SIGMA,
        "pause_s": material.PAUSE_S,
        "pause_rate": material.PAUSE_RATE,
        "between_s": material.BETWEEN_S,
        "room_dbfs": material.ROOM_DBFS,
        "energy_ends_ms": [round(1000 * (material.energy_end_s(i) - end_s)) for i, end_s in enumerate(ends_s)],
        "window_ms": round(1000 * silence_window_s(600)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short conversations, some settings: two minutes")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT",
        help="rows whose name (such as 'moonshine, smart-turn, 80 %%') has one of these in it",
    )  # fmt: skip
    parser.add_argument("--smart-turn", type=Path, default=SMART_TURN, metavar="FILE", help="the ONNX file")
    parser.add_argument("--no-saturation", action="store_true")
    parser.add_argument("--plan", action="store_true", help="print the runs and how long they take, and stop")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "turns.json", metavar="FILE")
    args = parser.parse_args()
    smart_turn = args.smart_turn.resolve() if args.smart_turn.is_file() else None
    if smart_turn is None:
        print(f"without smart-turn: there is no {args.smart_turn}", file=sys.stderr)
    chosen = settings(smart_turn)
    if args.quick:
        chosen = [setting for setting in chosen if setting.name in QUICK_SETTINGS]
    lengths = Lengths(QUICK_SECONDS, QUICK_SECONDS) if args.quick else Lengths(SECONDS, LOADED_SECONDS)
    models = [model for model in MODELS if not args.quick or model is FIXED]
    planned = plan(models, chosen, lengths, args.only, not args.no_saturation)
    text = f"{len(planned)} runs, {sum(run_s for _, run_s in planned) / 60:.1f} minutes"
    if args.plan:
        print("\n".join([*(f"{run_s:4.0f} s  {name}" for name, run_s in planned), text]))
        return 0
    print(text, file=sys.stderr, flush=True)
    args.out.unlink(missing_ok=True)  # A run that fails leaves no numbers of another one.
    began_s = time.monotonic()
    rows: list[dict[str, Any]] = []
    for model in models:
        rows += measure(model, chosen, lengths, args.only)
    saturation = [] if args.no_saturation else saturate(rows, chosen, lengths.of(SATURATED))
    report = {
        "kind": "turns",
        "quick": args.quick,
        "partial": bool(args.only),
        "took_s": round(time.monotonic() - began_s),
        **sections.here(),
        "material": described(lengths.few_s),
        "rows": rows,
        "decided": {} if args.quick or args.only or smart_turn is None else decided(smart_turn),
        "saturation": saturation,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_name(f"{args.out.name}.part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    part.replace(args.out)
    print(turn_report.markdown(report))
    return 0 if all(found.is_kept is not False for found in turn_report.criteria(report)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
