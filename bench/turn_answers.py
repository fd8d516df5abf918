"""What silence and turn detectors decide on the material of `make bench-turns`, without a server and without a clock.

    python bench/turn_answers.py [--conversations 40] [--smart-turn FILE] [--sweep] [--write]

The same endpointer as in the server, the same questions, and detectors that always answer in time: so the result does
not depend on the machine. Prints a table of some settings; --write puts it into docs/performance.md, between
`<!-- turn answers: begin -->` and `<!-- turn answers: end -->`. --sweep prints what many settings decide on one half of
the material, on which the defaults were chosen, and on the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

import numpy as np
import sections
from turn_cases import SILENCE_MS
from turn_material import ANYWHERE, PHRASE_ENDS, PROMPTS, RATE_HZ, Script, as_pcm, conversation, prompts, reading
from turn_prompts import HALVES as PROMPT_HALVES
from turn_prompts import SENTENCES, are_here, half
from turn_score import Final, Score, interval

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
        *((192, threshold, 0.3) for threshold in (0.5, 0.8)),
        *((min_silence_ms, 0.5, 0.3) for min_silence_ms in (160, 200)),
        (192, 0.5, 0.1),
    ],
    "text": [(192, 0.5, 0.3)],
}
"""With which `turn.min_silence_ms`, `turn.threshold` and `turn.unfinished_threshold`. Three probabilities are all that
`text` knows.
"""
SWEPT = [
    (min_silence_ms, threshold, unfinished_threshold)
    for min_silence_ms in (128, 160, 192, 224)
    for threshold in (0.5, 0.7, 0.9)
    for unfinished_threshold in (0.1, 0.3, 0.5)
]
LONGER = "prompts, longer pauses"
TIMED = (PHRASE_ENDS, PROMPTS)
"""The materials whose decisions have times in the table."""
HALVES = ("chosen on", "the other half")
SMART_TURN = ROOT / "build" / "smart-turn" / "smart-turn-v3.2-cpu.onnx"

Settings = dict[str, list[tuple[int, float, float]]]
Ask = Callable[[int, int, int, int], float]
"""The probability for the audio between the first two positions, whose text is that between the other two."""
Asker = Callable[["Heard"], Ask | None]


@dataclass
class Heard:
    """A script, how probable speech is in each frame, and what the detectors have said about it."""

    script: Script
    probabilities: Sequence[float]
    said: dict[tuple[str, int, int, int, int], float] = field(default_factory=dict)


def decide(heard: Heard, silence_ms: int, turn: TurnConfig | None, ask: Ask | None, window_s: float) -> list[Final]:
    """Runs the endpointer over a script. A segment's final comes when its end is decided: models take no time."""
    config = VadConfig(silence_duration_ms=silence_ms)
    endpointer = Endpointer(
        config.to_endpoint(FRAME_SAMPLES, RATE_HZ, speculate_ms=SILENCE_MS, turn=turn, turn_window_s=window_s)
    )
    finals: list[Final] = []
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
                is_over, is_unfinished = found >= turn.threshold, found < turn.unfinished_threshold
                events += endpointer.answer(1 if is_over else -1 if is_unfinished else 0)
    return finals


def asked(name: str, detector: TurnDetector, model: Moonshine | None, heard: Heard) -> Ask:
    """Asks a detector, and remembers its answers. model: for the text, if it needs that."""

    def ask(*place: int) -> float:
        key = (name, *place)
        if key not in heard.said:
            start_pos, end_pos, from_pos, to_pos = place
            samples = heard.script.samples
            text = None
            if detector.needs_text:
                assert model is not None
                text = str(model.infer(samples[from_pos:to_pos])["text"])
            heard.said[key] = float(detector.judge([TurnQuestion(samples[start_pos:end_pos], text)])[0])
        return heard.said[key]

    return ask


def total(heards: Sequence[Heard], silence_ms: int, turn: TurnConfig | None, ask: Asker, window_s: float) -> Score:
    """Of all scripts."""
    score = Score()
    for heard in heards:
        finals = decide(heard, silence_ms, turn, ask(heard), window_s)
        score.add(heard.script, finals, silence_ms)
    return score


def cells(score: Score, is_timed: bool) -> str:
    low, high = interval(score.n_cut_turns, score.n_turns)
    cut = f"{100 * score.n_cut_turns / score.n_turns:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    if not is_timed:
        return f"{cut} |"
    p50_ms, p95_ms = (1000 * float(np.quantile(score.latencies_s, share)) for share in (0.5, 0.95))
    return f"{cut} | {p50_ms:.0f} / {p95_ms:.0f} ms |"


def table(
    materials: dict[str, Sequence[Heard]], detectors: dict[str, TurnDetector], model: Moonshine, settings: Settings
) -> list[str]:
    """A row for each setting; the columns of a material follow one another."""
    heads = [" cut", "---"]
    for name in materials:
        is_timed = name.startswith(TIMED)
        heads[0] += f" | {name}{' | p50 / p95' if is_timed else ''}"
        heads[1] += "|---:" * (1 + is_timed)
    lines = [f"|{heads[0]} |", f"|{heads[1]}|"]

    def add(title: str, silence_ms: int, turn: TurnConfig | None, ask: Asker, window_s: float) -> None:
        found = [
            cells(total(heards, silence_ms, turn, ask, window_s), name.startswith(TIMED))
            for name, heards in materials.items()
        ]
        lines.append(f"| {title} | {' '.join(found)}")

    for silence_ms in (600, 400, 200):
        add(f"silence {silence_ms} ms", silence_ms, None, lambda heard: None, 1.0)
    for name, detector in detectors.items():
        for min_silence_ms, threshold, unfinished_threshold in settings[name]:
            turn = TurnConfig(
                detector=name,
                min_silence_ms=min_silence_ms,
                threshold=threshold,
                unfinished_threshold=unfinished_threshold,
            )
            is_default = turn == TurnConfig(detector=name)
            title = f"{name} after {min_silence_ms} ms, {threshold:g}, {unfinished_threshold:g}"
            ask = partial(asked, name, detector, model)
            add(f"**{title}**" if is_default else title, SILENCE_MS, turn, ask, detector.window_s)
    return lines


def all_scripts(n_conversations: int) -> dict[str, list[Script]]:
    """By material. Of the prompts, those as spoken and those with longer pauses have every sentence once."""
    seeds = range(2, 2 + n_conversations)
    found = {"reading": [reading()], PHRASE_ENDS: [conversation(seed, SECONDS, PHRASE_ENDS) for seed in seeds]}
    if are_here():
        found[PROMPTS] = [prompts(1, SENTENCES)]
        found[LONGER] = [prompts(1, SENTENCES, are_longer=True)]
    return found | {ANYWHERE: [conversation(seed, SECONDS, ANYWHERE) for seed in seeds]}


def halves(n_conversations: int) -> dict[str, list[Script]]:
    """Each material twice: what settings are chosen on, and the rest. The five sentences of the reading are in both
    halves, with other pauses and other noise.
    """
    found: dict[str, list[Script]] = {}
    for number, name in enumerate(HALVES):
        seeds = range(2 + number, 2 + n_conversations, len(HALVES))
        found[f"{PHRASE_ENDS}, {name}"] = [conversation(seed, SECONDS, PHRASE_ENDS) for seed in seeds]
    if are_here():
        for number, name in zip(PROMPT_HALVES, HALVES, strict=True):
            found[f"{PROMPTS}, {name}"] = [prompts(1, half(number))]
    return found


def cuts(name: str, detector: TurnDetector, n_conversations: int = 40) -> dict[str, tuple[int, int]]:
    """By material: how many sentences a detector that needs no text cuts with the default settings, and of how many.
    Of the material that is also played.
    """
    turn = TurnConfig(detector=name)
    found: dict[str, tuple[int, int]] = {}
    for material, scripts in all_scripts(n_conversations).items():
        if material == LONGER:
            continue
        heards = [heard_of(script) for script in scripts]
        score = total(heards, SILENCE_MS, turn, partial(asked, name, detector, None), detector.window_s)
        found[material] = score.n_cut_turns, score.n_turns
    return found


def heard_of(script: Script) -> Heard:
    """As a server gets it: in 16 bits. A network in 8 bits notices."""
    samples = np.frombuffer(as_pcm(script.samples), "<i2").astype(np.float32) / 32_768
    return Heard(Script(samples, script.turns), speech_probabilities(samples, RATE_HZ))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=40, metavar="N")
    parser.add_argument("--smart-turn", type=Path, default=SMART_TURN, metavar="FILE", help="the ONNX file")
    parser.add_argument("--sweep", action="store_true", help="many settings, on halves of the material")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    args = parser.parse_args()
    detectors: dict[str, Any] = {}
    if args.smart_turn.is_file():
        detectors["smart-turn"] = load_turn_detector(f"smart-turn:{args.smart_turn}")
    detectors["text"] = load_turn_detector("text")
    model = Moonshine(batch=False)
    scripts = halves(args.conversations) if args.sweep else all_scripts(args.conversations)
    scripts.pop("reading", None)  # too few sentences
    sizes = [
        f"{name}: {sum(len(script.turns) for script in some)} sentences, "
        f"{sum(len(turn.pauses) for script in some for turn in script.turns)} pauses"
        for name, some in scripts.items()
    ]
    materials = {name: [heard_of(script) for script in some] for name, some in scripts.items()}
    if args.sweep:
        del detectors["text"]
    lines = [
        sections.where("python bench/turn_answers.py", sections.here()),
        "",
        f"{'; '.join(sizes).capitalize()}. Cells: sentences cut, with Wilson's 95 % interval, and the time from the "
        "last word to the decision. A detector's row has `turn.min_silence_ms`, `turn.threshold` and"
        " `turn.unfinished_threshold`; the defaults are bold.",
        "",
        *table(materials, detectors, model, {"smart-turn": SWEPT} if args.sweep else ASKED),
    ]
    print("\n".join(lines))
    if args.write and not args.sweep:
        sections.put(ROOT / "docs" / "performance.md", "turn answers:", "\n".join(lines), "Turns, without a clock")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
