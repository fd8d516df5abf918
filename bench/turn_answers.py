"""What silence and turn detectors decide on the material of `make bench-turns`, without a server and without a clock.

    python bench/turn_answers.py [--conversations 40] [--smart-turn FILE] [--write]

The same endpointer as in the server, the same questions, and detectors that always answer in time: so the result does
not depend on the machine. Prints a table; --write puts it into docs/performance.md, between
`<!-- turn answers: begin -->` and `<!-- turn answers: end -->`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

import numpy as np
import sections
from turn_cases import SILENCE_MS
from turn_material import KINDS, RATE_HZ, Script, conversation, reading
from turn_score import EARLY_S, Final, Score

from voxgate._native.endpoint import QUESTION, SPECULATE, SPEECH_CUT, SPEECH_END, Endpointer
from voxgate.models.moonshine import Moonshine
from voxgate.vad.config import VadConfig
from voxgate.vad.offline import speech_probabilities
from voxgate.vad.turns.base import TurnDetector, TurnQuestion
from voxgate.vad.turns.config import TurnConfig
from voxgate.vad.turns.loader import load_turn_detector

FRAME_SAMPLES = 512
SECONDS = 28.0
ASKED = {
    "smart-turn": [
        (min_silence_ms, threshold, unfinished_threshold)
        for min_silence_ms in (160, 192, 200)
        for threshold in (0.5, 0.8, 0.95)
        for unfinished_threshold in (0.1, 0.5)
    ],
    "text": [(192, 0.5, 0.1)],
}
"""With which `turn.min_silence_ms`, `turn.threshold` and `turn.unfinished_threshold`. Three probabilities are all that
`text` knows.
"""
SMART_TURN = ROOT / "build" / "smart-turn" / "smart-turn-v3.2-cpu.onnx"

Ask = Callable[[int, int, int, int], float]
"""The probability for the audio between the first two positions, whose text is that between the other two."""


@dataclass
class Heard:
    """A script, how probable speech is in each frame, and what the detectors have said about it."""

    script: Script
    probabilities: Sequence[float]
    said: dict[tuple[str, int, int, int, int], float] = field(default_factory=dict)


@dataclass
class Decided:
    """Sums over scripts: their score, and the answers at the ends of turns and inside of them."""

    score: Score = field(default_factory=Score)
    at_ends: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)


def decide(heard: Heard, silence_ms: int, turn: TurnConfig | None, ask: Ask | None, window_s: float) -> Decided:
    """Runs the endpointer over a script. A segment's final comes when its end is decided: models take no time."""
    config = VadConfig(silence_duration_ms=silence_ms)
    endpointer = Endpointer(
        config.to_endpoint(FRAME_SAMPLES, RATE_HZ, speculate_ms=SILENCE_MS, turn=turn, turn_window_s=window_s)
    )
    decided, finals = Decided(), []
    spoken = (0, 0)
    for probability in heard.probabilities:
        events = list(endpointer.step(float(probability)))
        while events:
            kind, start_pos, end_pos = events.pop(0)
            if kind == SPECULATE:
                spoken = (start_pos, end_pos)
            elif kind in (SPEECH_END, SPEECH_CUT):
                finals.append(Final(start_pos / RATE_HZ, end_pos / RATE_HZ, endpointer.heard_pos / RATE_HZ))
            elif kind == QUESTION:
                assert turn is not None
                assert ask is not None
                found = ask(start_pos, end_pos, *spoken)
                _note(heard.script, spoken[1] / RATE_HZ, found, decided)
                is_over, is_unfinished = found >= turn.threshold, found < turn.unfinished_threshold
                events += endpointer.answer(1 if is_over else -1 if is_unfinished else 0)
    decided.score.add(heard.script, finals, silence_ms)
    return decided


def _note(script: Script, end_s: float, found: float, decided: Decided) -> None:
    """end_s: of the speech before the pause."""
    for turn in script.turns:
        if abs(end_s - turn.end_s) <= EARLY_S:
            decided.at_ends.append(found)
        elif turn.start_s < end_s < turn.end_s:
            decided.inside.append(found)


def asked(name: str, detector: TurnDetector, model: Moonshine, heard: Heard) -> Ask:
    """Asks a detector, and remembers its answers."""

    def ask(*place: int) -> float:
        key = (name, *place)
        if key not in heard.said:
            start_pos, end_pos, from_pos, to_pos = place
            samples = heard.script.samples
            text = str(model.infer(samples[from_pos:to_pos])["text"]) if detector.needs_text else None
            heard.said[key] = float(detector.judge([TurnQuestion(samples[start_pos:end_pos], text)])[0])
        return heard.said[key]

    return ask


def total(parts: Sequence[Decided]) -> Decided:
    found = Decided()
    for part in parts:
        found.at_ends += part.at_ends
        found.inside += part.inside
        found.score.latencies_s += part.score.latencies_s
        for name in ("n_turns", "n_cut_turns", "n_pauses", "n_cuts", "n_together", "n_lost"):
            setattr(found.score, name, getattr(found.score, name) + getattr(part.score, name))
    return found


def row(name: str, found: Decided, threshold: float | None) -> str:
    score = found.score

    def above(values: Sequence[float]) -> str:
        return percent(sum(value >= threshold for value in values), len(values)) if threshold is not None else ""

    return (
        f"| {name} | {above(found.at_ends)} | {above(found.inside)} | {percent(score.n_cut_turns, score.n_turns)} "
        f"| {percent(score.n_cuts, score.n_pauses)} | {1000 * statistics.median(score.latencies_s):.0f} ms "
        f"| {1000 * float(np.quantile(score.latencies_s, 0.95)):.0f} ms |"
    )


def percent(some: int, of_all: int) -> str:
    return f"{100 * some / of_all:.0f} %" if of_all else ""


def table(heards: Sequence[Heard], detectors: dict[str, TurnDetector], model: Moonshine) -> list[str]:
    lines = [
        "| | ends of sentences that it accepts | pauses that it takes for ends | sentences cut | pauses cut "
        "| last word to decision, p50 | p95 |",
        "|---|---|---|---|---|---|---|",
    ]
    for silence_ms in (600, 400, 200):
        found = total([decide(heard, silence_ms, None, None, 1.0) for heard in heards])
        lines.append(row(f"silence {silence_ms} ms", found, None))
    for name, detector in detectors.items():
        for min_silence_ms, threshold, unfinished_threshold in ASKED[name]:
            turn = TurnConfig(
                detector=name,
                min_silence_ms=min_silence_ms,
                threshold=threshold,
                unfinished_threshold=unfinished_threshold,
            )
            found = total(
                [
                    decide(heard, SILENCE_MS, turn, asked(name, detector, model, heard), detector.window_s)
                    for heard in heards
                ]
            )
            lines.append(
                row(f"{name} after {min_silence_ms} ms, {threshold:g}, {unfinished_threshold:g}", found, threshold)
            )
    return lines


def heard_of(script: Script) -> Heard:
    return Heard(script, speech_probabilities(script.samples, RATE_HZ))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=40, metavar="N")
    parser.add_argument("--smart-turn", type=Path, default=SMART_TURN, metavar="FILE", help="the ONNX file")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    args = parser.parse_args()
    detectors: dict[str, Any] = {}
    if args.smart_turn.is_file():
        detectors["smart-turn"] = load_turn_detector(f"smart-turn:{args.smart_turn}")
    detectors["text"] = load_turn_detector("text")
    model = Moonshine(batch=False)
    n_sentences = 0
    lines = [sections.where("python bench/turn_answers.py", sections.here())]
    seeds = range(2, 2 + args.conversations)
    for name, scripts in (
        *((f"conversations, {kind}", [conversation(seed, SECONDS, kind) for seed in seeds]) for kind in KINDS),
        ("the reading", [reading()]),
    ):
        heards = [heard_of(script) for script in scripts]
        n_sentences = sum(len(script.turns) for script in scripts)
        n_pauses = sum(len(turn.pauses) for script in scripts for turn in script.turns)
        lines += ["", f"{name.capitalize()}: {n_sentences} sentences with {n_pauses} pauses in them.", ""]
        lines += table(heards, detectors, model)
    print("\n".join(lines))
    if args.write:
        sections.put(ROOT / "docs" / "performance.md", "turn answers:", "\n".join(lines), "Turns, without a clock")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
