"""The words of a segment, with times on the clock of the session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from voxgate.protocol.events import Segment
from voxgate.protocol.transcript import Transcript, Word

__all__ = ["confidence_of", "transcript_of", "words_of"]


def transcript_of(segment: Segment) -> Transcript:
    """That of its output; an empty one when the model found no words."""
    output: Mapping[str, Any] = segment.output
    transcript = Transcript.of(output)
    return Transcript("") if transcript is None else transcript


def words_of(segment: Segment, transcript: Transcript) -> Sequence[Word]:
    """The words with ``start_s`` and ``end_s`` in seconds since the start of the session, within the segment and in
    order of their starts, whatever the model says.
    """
    duration_s = max(0.0, segment.end_time - segment.start_time)
    words, earliest_s = [], 0.0
    for word in transcript.timed_words(duration_s):
        start_s = min(max(word.start_s, earliest_s), duration_s)
        end_s = min(max(word.end_s, start_s), duration_s)
        begin_s, finish_s = segment.start_time + start_s, segment.start_time + end_s
        words.append(Word(word.text.strip(), begin_s, finish_s, word.confidence, word.speaker))
        earliest_s = start_s
    return words


def confidence_of(words: Sequence[Word]) -> float:
    """The mean of the words whose confidence is known; 1 when none is, 0 without words."""
    known = [word.confidence for word in words if word.confidence is not None]
    if known:
        return min(1.0, max(0.0, sum(known) / len(known)))
    return 1.0 if words else 0.0
