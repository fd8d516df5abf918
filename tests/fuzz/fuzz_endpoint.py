"""Endpointer against the blackboard, with any settings and any probabilities, also what is no number."""

from __future__ import annotations

from fuzz.source import Source
from helpers.endpoint_kinds import KINDS
from reference import endpoint_ref as ref
from voxgate._native.endpoint import (
    EndpointConfig,
    Endpointer,
)

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
MAX_STEPS = 200


def fuzz(data: bytes) -> None:
    source = Source(data)
    low, high = sorted((source.pick(LEVELS), source.pick(LEVELS)))
    names = ("prefix_samples", "suffix_samples", "silence_samples", "min_speech_samples", "interim_samples")
    names += ("speculate_samples", "turn_samples", "turn_max_samples")
    settings = {name: source.size(200) for name in names}
    settings |= {"frame_samples": 1 + source.size(40), "max_segment_samples": 1 + source.size(500)}
    endpointer = Endpointer(EndpointConfig(threshold=high, negative_threshold=low, **settings))
    rules = ref.Rules(threshold=high, negative_threshold=low, **settings)
    happenings: list[ref.Happening] = []
    told = []
    pos = least = keep = 0
    while source.left and len(happenings) < MAX_STEPS:
        what = source.integer(0, 15)
        if what == 3 and told and any(kind == ref.QUESTION for kind, _, _ in told[-1]):
            verdict = source.integer(0, 2) - 1
            happenings.append(ref.Answer(verdict))
            told.append([(KINDS[kind], start, stop) for kind, start, stop in endpointer.answer(verdict)])
            continue
        if what == 0:
            # Amid a frame or at the end of one: the next frame ends behind it.
            least = max(least, pos + source.integer(0, rules.frame_samples))
            happenings.append(ref.Flush(least))
            events = endpointer.flush(least)
        elif what == 2:
            least = max(least, pos + source.integer(0, rules.frame_samples))
            happenings.append(ref.Clear(least))
            endpointer.clear(least)
            events = []
        else:
            probability = float("nan") if what == 1 else source.integer(0, 8) / 8
            end = max(pos + (rules.frame_samples if source.integer(0, 7) else 1 + source.size(50)), least)
            happenings.append(ref.Frame(pos, end, probability))
            events = endpointer.step(probability, end)
            pos = least = end
        told.append([(KINDS[kind], start, stop) for kind, start, stop in events])
        assert endpointer.keep_pos >= keep, "what may be asked for goes back"
        keep = endpointer.keep_pos
    assert told == ref.endpoint_events(rules, happenings)


SEEDS = [bytes([2, 1, 0, 0, 0, 0, 3, 9, 4, 8, 2, 7, 3, 10, 1] + [5, 8, 1] * 20), bytes(range(256))]
