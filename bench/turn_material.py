"""What `make bench-turns` plays: the bundled human speech as it is, two kinds of conversations made from it, and, after
`make turn-prompts`, a third from the prompts of a telephone system, as they were spoken (bench/turn_prompts.py).

The first two differ in where the speaker pauses: at the ends of the reader's phrases, which are the commas and the like
in the text, or anywhere between two words. At a comma the reader's voice says that more will come. Elsewhere the reader
did not pause, so nothing in the voice says it.

The end of a sentence is the end of its last word in an alignment of the words with the recording
(reading_words.json, which tools/make_reading.py writes). `energy_end_s` finds it in another way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import turn_prompts

from voxgate import recordings
from voxgate.audio import read_audio

RATE_HZ = 16_000
RECORDING = "reading"

ANYWHERE, PHRASE_ENDS, PROMPTS = "pauses anywhere", "pauses at phrase ends", "prompts as spoken"
KINDS = (PHRASE_ENDS, ANYWHERE, *[PROMPTS] * turn_prompts.are_here())

TURNS = ((0,), (1, 2), (2,), (3,), (4,))
"""The turns, by the numbers of their clips. The second clip ends in a comma, so its speaker has not finished; the
third also stands alone.
"""
PAUSE_MEDIAN_S, PAUSE_SIGMA, PAUSE_S = 0.35, 0.5, (0.2, 1.0)
"""Pauses inside a turn: log-normal, drawn again outside of these bounds."""
PAUSE_RATE = 0.15
"""The probability of a pause at the boundary of two words, where one may be. A phrase always ends in one."""
WORDS_APART = 3
"""There are at least so many words between two pauses anywhere, and between a pause and the ends of a clip."""
PHRASE_MARKS = (",", ";", ":")
BETWEEN_S = (1.9, 2.7)
"""Between two turns, uniform: the other side answers."""
BEFORE_S = (0.5, 8.5)
"""Before the first turn, uniform, so that the turns of many streams do not end together."""
ROOM_DBFS = -48.0
"""The level of the room: pink noise below everything."""
LONGEST_PROMPT_S = 10.0
"""Longer prompts are in no conversation, because runs take as long as their longest stream."""
NOISE_SAMPLES = 1 << 20
TAIL_S = 0.12
"""Of the recording that is kept after the last word, and before the first."""
FADE_S = 0.01
NEAR_S = 0.03
"""A cut between two words is where the recording is quietest, this close to their boundary."""
_HYPHENATED = {("ill", "disposed"), ("cold", "hearted")}

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pause:
    """A silence that was put between two words."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Turn:
    """From its first word to the end of its last one, in seconds from the start of the script."""

    start_s: float
    end_s: float
    pauses: tuple[Pause, ...] = ()


@dataclass(frozen=True)
class Script:
    """What one stream plays, float32 at RATE_HZ, and its turns in order."""

    samples: Samples
    turns: tuple[Turn, ...]


@cache
def sentences() -> tuple[tuple[tuple[str, float, float], ...], ...]:
    """The words of each sentence of the recording: the word, where it begins and where it ends, in seconds."""
    document: Any = json.loads((Path(__file__).parent / "reading_words.json").read_text(encoding="utf-8"))
    return tuple(tuple((str(word), float(start), float(end)) for word, start, end in words) for words in document)


@cache
def recording() -> Samples:
    planes, rate = read_audio(recordings.path(RECORDING))
    if rate != RATE_HZ:
        raise ValueError(f"{RECORDING} has {rate} Hz, not {RATE_HZ}")
    samples: Samples = planes[0]
    return samples


def energy_end_s(number: int) -> float:
    """Where a sentence's last word sinks, for good, to the level half way (in dB) between its loudest 10 ms and the
    quietest 50 ms of the 0.2 s after it.
    """
    _, start_s, end_s = sentences()[number][-1]
    window = RATE_HZ // 100
    first, end = round(start_s * 100), round(end_s * 100)
    part = recording()[first * window : (end + 20) * window].reshape(-1, window)
    power = np.mean(part.astype(np.float64) ** 2, axis=1)
    quietest = np.convolve(power[end - first :], np.full(5, 0.2), mode="valid").min()
    above = np.flatnonzero(power[: end - first] >= np.sqrt(power.max() * quietest))
    return float((first + above[-1] + 1) / 100)


def reading(seconds: float = math.inf) -> Script:
    """The first `seconds` of the recording. Only the clips that end a turn are turns here, each from its own first
    word.
    """
    samples = recording()[: round(min(seconds * RATE_HZ, len(recording())))]
    ends = sorted({turn[-1] for turn in TURNS})
    turns = [Turn(sentences()[last][0][1], sentences()[last][-1][2]) for last in ends]
    return Script(samples, tuple(turn for turn in turns if turn.end_s + BETWEEN_S[0] / 2 < len(samples) / RATE_HZ))


def conversation(seed: int, seconds: float, kind: str = ANYWHERE) -> Script:
    """Turns with pauses in them, of at least `seconds` in all. The same seed gives the same samples. kind: of KINDS, or
    PROMPTS.
    """
    random = np.random.default_rng(seed)
    if kind == PROMPTS:
        names = turn_prompts.SENTENCES
        drawn = (names[int(random.integers(len(names)))] for _ in count())
        shorter = (name for name in drawn if len(turn_prompts.spoken(name)[0]) <= LONGEST_PROMPT_S * RATE_HZ)
        return _assembled(map(_prompt, shorter), seconds, random)
    chosen = (TURNS[int(random.integers(len(TURNS)))] for _ in count())
    made = (([_pieces(number, kind, random) for number in turn], ()) for turn in chosen)
    return _assembled(made, seconds, random)


def prompts(seed: int, names: Sequence[str], *, are_longer: bool = False) -> Script:
    """All of these prompts, in random order. are_longer: their pauses are drawn like those of conversations."""
    random = np.random.default_rng(seed)
    made = _longer_prompt if are_longer else _prompt
    return _assembled((made(names[index]) for index in random.permutation(len(names))), math.inf, random)


_Clips: TypeAlias = tuple[Sequence[Sequence[Samples]], tuple[Pause, ...]]
"""A turn: its clips in pieces, with a pause after each piece but the last of the turn; and the pauses within its
pieces, from its first word. A clip is silent for TAIL_S at its ends.
"""


def _assembled(chosen: Iterable[_Clips], seconds: float, random: np.random.Generator) -> Script:
    """A script of turns until it has this length, or until there are no more."""
    parts: list[Samples] = []
    turns: list[Turn] = []
    length = _add_silence(parts, 0, float(random.uniform(*BEFORE_S)))
    for clips, own_pauses in chosen:
        start_s = length / RATE_HZ + TAIL_S
        pauses = [Pause(start_s + pause.start_s, start_s + pause.end_s) for pause in own_pauses]
        for place, pieces in enumerate(clips):
            for index, piece in enumerate(pieces):
                if place or index:
                    silent_s = 0.0 if index else TAIL_S
                    pause_s = _pause_s(random)
                    begin_s = length / RATE_HZ - silent_s
                    length = _add_silence(parts, length, max(0.0, pause_s - 2 * silent_s))
                    pauses.append(Pause(begin_s, length / RATE_HZ + silent_s))
                parts.append(piece)
                length += len(piece)
        turns.append(Turn(start_s, length / RATE_HZ - TAIL_S, tuple(pauses)))
        length = _add_silence(parts, length, float(random.uniform(*BETWEEN_S)))
        if length >= seconds * RATE_HZ:
            break
    samples = np.concatenate(parts) + room(length, random)
    return Script(np.clip(samples, -1.0, 1.0).astype(np.float32), tuple(turns))


def _prompt(name: str) -> _Clips:
    """As it was spoken."""
    samples, pauses = turn_prompts.spoken(name)
    silence = np.zeros(round(TAIL_S * RATE_HZ), np.float32)
    return [[np.concatenate([silence, samples, silence])]], tuple(Pause(*pause) for pause in pauses)


def _longer_prompt(name: str) -> _Clips:
    """In pieces, without the speaker's own pauses."""
    (((samples,),), pauses) = _prompt(name)
    shift = round(TAIL_S * RATE_HZ)
    bounds = [0, *(round(at_s * RATE_HZ) + shift for pause in pauses for at_s in (pause.start_s, pause.end_s)), None]
    return [[samples[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True)]], ()


def room(n_samples: int, random: np.random.Generator) -> Samples:
    """Pink noise at ROOM_DBFS, from a random place of a minute that repeats."""
    return np.resize(np.roll(_noise(), int(random.integers(NOISE_SAMPLES))), n_samples)


@cache
def _noise() -> Samples:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(NOISE_SAMPLES))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, NOISE_SAMPLES)
    return (noise * 10 ** (ROOM_DBFS / 20) / np.sqrt(np.mean(noise**2))).astype(np.float32)


def as_pcm(samples: Samples) -> bytes:
    """16 bits, little-endian."""
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def breaks(words: Sequence[tuple[str, float, float]], random: np.random.Generator) -> list[int]:
    """The numbers of the words before which the speaker pauses."""
    found: list[int] = []
    for index in range(WORDS_APART, len(words) - WORDS_APART + 1):
        is_apart = not found or index - found[-1] >= WORDS_APART
        is_compound = (words[index - 1][0], words[index][0]) in _HYPHENATED
        if is_apart and not is_compound and random.random() < PAUSE_RATE:
            found.append(index)
    return found


@cache
def phrase_ends(number: int) -> tuple[int, ...]:
    """The numbers of the words of a sentence before which one of PHRASE_MARKS stands in its text."""
    ((*said,),) = recordings.truth(RECORDING)
    texts = said[number].text.replace("-", " ").split()
    return tuple(index for index, text in enumerate(texts[:-1], start=1) if text.endswith(PHRASE_MARKS))


def _pieces(number: int, kind: str, random: np.random.Generator) -> list[Samples]:
    """A sentence, cut where its speaker pauses."""
    words = sentences()[number]
    first, last = words[0][1] - TAIL_S, words[-1][2] + TAIL_S
    places = breaks(words, random) if kind == ANYWHERE else phrase_ends(number)
    cuts = [_quietest(words[index - 1][2], words[index][1]) for index in places]
    bounds = [round(first * RATE_HZ), *cuts, round(last * RATE_HZ)]
    return [_faded(recording()[start:end]) for start, end in pairwise(bounds)]


def _quietest(end_s: float, start_s: float) -> int:
    """The middle of the quietest 5 ms between two words."""
    window = RATE_HZ // 200
    low, high = round((end_s - NEAR_S) * RATE_HZ), round((start_s + NEAR_S) * RATE_HZ)
    power = np.convolve(recording()[low:high].astype(np.float64) ** 2, np.ones(window), mode="valid")
    return low + int(power.argmin()) + window // 2


def _faded(piece: Samples) -> Samples:
    n_fade = round(FADE_S * RATE_HZ)
    faded = piece.copy()
    faded[:n_fade] *= np.linspace(0, 1, n_fade, dtype=np.float32)
    faded[-n_fade:] *= np.linspace(1, 0, n_fade, dtype=np.float32)
    return faded


def _pause_s(random: np.random.Generator) -> float:
    while True:
        drawn_s = float(random.lognormal(np.log(PAUSE_MEDIAN_S), PAUSE_SIGMA))
        if PAUSE_S[0] <= drawn_s <= PAUSE_S[1]:
            return drawn_s


def _add_silence(parts: list[Samples], length: int, seconds: float) -> int:
    """The new length."""
    parts.append(np.zeros(round(seconds * RATE_HZ), np.float32))
    return length + len(parts[-1])
