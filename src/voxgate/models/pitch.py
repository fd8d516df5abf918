"""A stateful model without weights: the pitch of a voice through its stream, computed in Numba."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from voxgate.models.base import Model, Samples
from voxgate.models.compiling import compiled
from voxgate.models.ranges import check_number

__all__ = ["Pitch"]

_HOP_S = 0.010
_WINDOW_S = 0.025
_SILENCE_DBFS = -60.0

_CANDIDATES = 5
"""Periods a hop may have; slot 0 of its row is "no pitch", the others are these, filled from the left."""

# What a path through the candidates costs. A candidate costs its aperiodicity (0: repeats exactly, 1: not at all), and
_UNVOICED_COST = 0.22
_ONSET_COST = 0.14  # voiced after unvoiced, or the other way round
_JUMP_COST = 0.35  # per octave between two hops
_PERIOD_COST = 0.03  # per octave below the highest pitch, because twice the period fits as well as the period

Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Pitch(Model):
    """Tracks the fundamental frequency of one voice, one value every 10 ms. The answer has these keys, in this order:

    ``pitch_start_s``
        the start of the first hop below, in seconds since the start of the session (of the audio, on the routes with
        independent calls). The values of a session are contiguous over its calls.
    ``hop_s``
        0.01: the distance of the values.
    ``pitch_hz``
        a list: the pitch of each hop, None without pitch (silence, noise, a voiceless consonant).
    ``voicing``
        a list: how periodic each hop is, 0 (not at all) to 1; that of the chosen period, or without pitch,
        that of the best period. Below -60 dBFS: 0.
    ``median_pitch_hz``
        median over the hops with a pitch in this answer, None without any.
    ``voiced_ratio``
        hops with a pitch / all hops of this answer.

    **Stateful**: a hop is decided `lookahead_ms` and about 16 ms (at 60 Hz) after its end, and :meth:`finish` returns
    the rest. n samples give ceil(n / 160) values in total, bit for bit the same however the audio is split into calls.
    :meth:`infer` returns those of a whole recording at once.

    **Method.** Candidates by YIN (A. de Cheveigné, H. Kawahara, JASA 111(4), 2002: difference function over 25 ms,
    cumulative mean normalisation, parabolic interpolation), up to 5 local minima around each hop; the
    cheapest path (Viterbi) through them and "no pitch", where a jump costs by the octave and a change between voiced
    and unvoiced has a cost too, as in P. Boersma's method (IFA Proceedings 17, 1993). The path is decided with a fixed
    lag.

    The GIL is released, except for some microseconds per call. Any number of threads may call it at
    once, for different states. Samples that are not finite count as 0, those beyond -1..1 are clipped.
    """

    name = "pitch"

    def __init__(self, *, lowest_hz: float = 60.0, highest_hz: float = 500.0, lookahead_ms: int = 50) -> None:
        """lowest_hz: 40..400; a lower one is slower. highest_hz: 100..1000, at least twice lowest_hz. lookahead_ms:
        0..500, in steps of 10; a longer one gives fewer octave errors and later answers. Raises ValueError naming the
        option, the value and the range.
        """
        check_number("lowest_hz", lowest_hz, 40, 400)
        check_number("highest_hz", highest_hz, 100, 1000)
        check_number("lookahead_ms", lookahead_ms, 0, 500)
        if highest_hz < 2 * lowest_hz:
            raise ValueError(f"highest_hz must be at least twice lowest_hz ({lowest_hz:g}), not {highest_hz:g}")
        rate = self.sample_rate
        self._tau_min, self._tau_max = math.floor(rate / highest_hz), math.ceil(rate / lowest_hz)
        self._hop_samples, self._window_samples = round(_HOP_S * rate), round(_WINDOW_S * rate)
        self._frame_samples = self._window_samples + self._tau_max
        self._lookahead_hops = round(lookahead_ms / 1000 / _HOP_S)
        self._silence = self._window_samples * 10.0 ** (_SILENCE_DBFS / 10.0)

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        state = self.open()
        parts = [self._advance(audio, state), self._conclude(state)]
        return self._answer(0, np.concatenate(parts, axis=1))

    def open(self) -> _State:
        # The frame around the first hop begins in the silence before the session.
        return _State((self._frame_samples - self._hop_samples) // 2, self._lookahead_hops + 2)

    def step(self, audio: Samples, state: _State) -> Mapping[str, Any] | None:
        first = state.n_decided
        decided = self._advance(audio, state)
        return self._answer(first, decided) if decided.shape[1] else None

    def finish(self, state: _State) -> Mapping[str, Any] | None:
        first = state.n_decided
        decided = self._conclude(state)
        return self._answer(first, decided) if decided.shape[1] else None

    def _advance(self, audio: Samples, state: _State) -> Floats:
        """Takes audio and returns the hops that it decides: float64 (2, hops), pitches (Hz, 0: none) and voicing."""
        state.n_samples += len(audio)
        return self._track(np.concatenate([state.rest, _sane(audio)]), state)

    def _conclude(self, state: _State) -> Floats:
        """The remaining hops, with silence after the end."""
        n_left = -(-state.n_samples // self._hop_samples) - state.n_hops
        needed = (n_left - 1) * self._hop_samples + self._frame_samples
        silence = np.zeros(max(0, needed - len(state.rest)) if n_left else 0, np.float32)
        decided = self._track(np.concatenate([state.rest, silence]), state)
        rest: Floats = np.empty((2, state.n_hops - state.n_decided))
        _decide_rest(state.n_hops, state.pitches_hz, state.voicings, state.origins, state.totals, rest)
        state.n_decided = state.n_hops
        return np.concatenate([decided, rest], axis=1)

    def _track(self, samples: Samples, state: _State) -> Floats:
        n_hops = max(0, (len(samples) - self._frame_samples) // self._hop_samples + 1)
        n_decided = max(state.n_decided, state.n_hops + n_hops - self._lookahead_hops) - state.n_decided
        decided: Floats = np.empty((2, n_decided))
        _track(
            samples,
            self._hop_samples,
            self._window_samples,
            self._tau_min,
            self._tau_max,
            self._silence,
            self.sample_rate,
            state.n_hops,
            n_hops,
            state.pitches_hz,
            state.voicings,
            state.origins,
            state.totals,
            decided,
        )
        state.rest = samples[n_hops * self._hop_samples :].copy()
        state.n_hops += n_hops
        state.n_decided += n_decided
        return decided

    def _answer(self, first_hop: int, decided: Floats) -> Mapping[str, Any]:
        pitches_hz, voicings = decided
        voiced_hz = pitches_hz[pitches_hz > 0.0]
        return {
            "pitch_start_s": round(first_hop * _HOP_S, 2),
            "hop_s": _HOP_S,
            "pitch_hz": [round(hz, 2) if hz > 0.0 else None for hz in pitches_hz.tolist()],
            "voicing": [round(voicing, 3) for voicing in voicings.tolist()],
            "median_pitch_hz": round(float(np.median(voiced_hz)), 2) if len(voiced_hz) else None,
            "voiced_ratio": round(len(voiced_hz) / len(pitches_hz), 4) if len(pitches_hz) else 0.0,
        }


class _State:
    """The state of a channel: the audio that later hops need, and the undecided paths.

    The rows of the tables are the last hops, hop n in row n % n_rows: the lookahead, the one before it that it decides,
    and the one before that, from which the paths come. The columns are the slots of a hop.
    """

    __slots__ = (
        "__weakref__",
        "n_decided",
        "n_hops",
        "n_samples",
        "origins",
        "pitches_hz",
        "rest",
        "totals",
        "voicings",
    )

    def __init__(self, n_before: int, n_rows: int) -> None:
        self.rest: Samples = np.zeros(n_before, np.float32)
        self.n_samples = 0
        self.n_hops = 0  # candidates are known
        self.n_decided = 0  # answered
        slots = _CANDIDATES + 1
        self.pitches_hz: Floats = np.zeros((n_rows, slots))
        self.voicings: Floats = np.zeros((n_rows, slots))
        # The slot of the hop before from which the cheapest path comes.
        self.origins: Integers = np.zeros((n_rows, slots), np.int64)
        self.totals: Floats = np.zeros(slots)  # cost of the cheapest path to each slot of the last hop


def _sane(audio: Samples) -> Samples:
    samples: Samples = np.require(audio, np.float32, ["C"])
    if bool(np.all(np.abs(samples) <= 1.0)):  # false for NaN, too
        return samples
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0), np.float32(-1.0), np.float32(1.0))


@compiled(
    "void(float32[::1], int64, int64, int64, float64, float64, float32[::1], float64[::1],"
    " float64[::1], float64[::1], float64[::1])"
)
def _find_candidates(
    frame: Samples,
    window: int,
    tau_min: int,
    tau_max: int,
    silence: float,
    rate: float,
    difference: Samples,
    normalised: Floats,
    pitches_hz: Floats,
    voicings: Floats,
    costs: Floats,
) -> None:
    """Fills the slots of one hop: slot 0, and the cheapest local minima of YIN's normalised difference. A slot that
    stays empty costs infinity. `difference` and `normalised` are scratch, tau_max + 1 long.
    """
    slots = costs.shape[0]
    pitches_hz[:] = 0.0
    voicings[:] = 0.0
    costs[:] = np.inf
    costs[0] = _UNVOICED_COST
    energy = 0.0
    for j in range(window):
        energy += frame[j] * frame[j]
    if energy <= silence:
        return
    # Sums over j in the outer loop, and slices of equal length: so the inner loop has neither a dependency between its
    # steps nor an index that could be negative, and is vectorised. Four j at a time spare loads and stores.
    n_taus = tau_max + 1
    difference[:] = 0.0
    for j in range(0, window, 4):
        a, b, c, d = frame[j], frame[j + 1], frame[j + 2], frame[j + 3]
        from_a, from_b = frame[j : j + n_taus], frame[j + 1 : j + 1 + n_taus]
        from_c, from_d = frame[j + 2 : j + 2 + n_taus], frame[j + 3 : j + 3 + n_taus]
        for tau in range(n_taus):
            e, f, g, h = a - from_a[tau], b - from_b[tau], c - from_c[tau], d - from_d[tau]
            difference[tau] += (e * e + f * f) + (g * g + h * h)
    total = 0.0
    normalised[0] = 1.0
    for tau in range(1, tau_max + 1):
        total += difference[tau]
        normalised[tau] = difference[tau] * tau / total if total > 0.0 else 1.0
    for tau in range(tau_min, tau_max):
        left, middle, right = normalised[tau - 1], normalised[tau], normalised[tau + 1]
        if not left > middle <= right:
            continue
        voicing = min(1.0, max(0.0, 1.0 - middle))
        voicings[0] = max(voicings[0], voicing)
        cost = middle + _PERIOD_COST * math.log2(tau / tau_min)
        worst = 1
        for slot in range(2, slots):
            if costs[slot] > costs[worst]:
                worst = slot
        if cost < costs[worst]:
            curvature = left - 2.0 * middle + right
            offset = 0.5 * (left - right) / curvature if curvature > 0.0 else 0.0
            costs[worst] = cost
            voicings[worst] = voicing
            pitches_hz[worst] = rate / (tau + min(0.5, max(-0.5, offset)))


@compiled("void(int64, float64[:, ::1], int64[:, ::1], float64[::1], float64[::1])")
def _extend_paths(hop: int, pitches_hz: Floats, origins: Integers, costs: Floats, totals: Floats) -> None:
    """Leads the cheapest path to every slot of `hop`, whose own costs are `costs`. `totals` are the costs of these
    paths, less that of the cheapest.
    """
    if hop == 0:
        totals[:] = costs
    else:
        rows, slots = pitches_hz.shape
        here_hz, before_hz = pitches_hz[hop % rows], pitches_hz[(hop - 1) % rows]
        before = totals.copy()
        for slot in range(slots):
            cheapest, origin = np.inf, 0
            if costs[slot] < np.inf:
                for candidate in range(slots):
                    change = 0.0
                    if before_hz[candidate] > 0.0 and here_hz[slot] > 0.0:
                        change = _JUMP_COST * abs(math.log2(here_hz[slot] / before_hz[candidate]))
                    elif before_hz[candidate] != here_hz[slot]:
                        change = _ONSET_COST
                    if before[candidate] + change < cheapest:
                        cheapest, origin = before[candidate] + change, candidate
            totals[slot] = cheapest + costs[slot]
            origins[hop % rows, slot] = origin
    totals -= totals.min()


@compiled("void(int64, int64, float64[:, ::1], float64[:, ::1], int64[:, ::1], float64[::1], float64[:, ::1], int64)")
def _decide(
    last: int,
    hop: int,
    pitches_hz: Floats,
    voicings: Floats,
    origins: Integers,
    totals: Floats,
    decided: Floats,
    column: int,
) -> None:
    """Writes pitch and voicing of `hop`, on the path that is cheapest at the hop `last`, into a column of `decided`."""
    rows = pitches_hz.shape[0]
    slot = np.argmin(totals)
    for later in range(last, hop, -1):
        slot = origins[later % rows, slot]
    decided[0, column] = pitches_hz[hop % rows, slot]
    decided[1, column] = voicings[hop % rows, slot]


@compiled(
    "void(float32[::1], int64, int64, int64, int64, float64, float64, int64, int64,"
    " float64[:, ::1], float64[:, ::1], int64[:, ::1], float64[::1], float64[:, ::1])"
)
def _track(
    samples: Samples,
    hop_samples: int,
    window: int,
    tau_min: int,
    tau_max: int,
    silence: float,
    rate: float,
    first: int,
    n_hops: int,
    pitches_hz: Floats,
    voicings: Floats,
    origins: Integers,
    totals: Floats,
    decided: Floats,
) -> None:
    """Takes the hops `first` .. `first + n_hops`, whose frames begin at the start of `samples`, and decides those that
    then lie the lookahead behind; `silence` is the energy of a window that is still silent.
    """
    rows, slots = pitches_hz.shape
    difference = np.empty(tau_max + 1, np.float32)
    normalised = np.empty(tau_max + 1)
    costs = np.empty(slots)
    column = 0
    for hop in range(first, first + n_hops):
        start = (hop - first) * hop_samples
        frame = samples[start : start + window + tau_max]
        row = hop % rows
        _find_candidates(
            frame,
            window,
            tau_min,
            tau_max,
            silence,
            rate,
            difference,
            normalised,
            pitches_hz[row],
            voicings[row],
            costs,
        )
        _extend_paths(hop, pitches_hz, origins, costs, totals)
        due = hop - (rows - 2)
        if due >= 0:
            _decide(hop, due, pitches_hz, voicings, origins, totals, decided, column)
            column += 1


@compiled("void(int64, float64[:, ::1], float64[:, ::1], int64[:, ::1], float64[::1], float64[:, ::1])")
def _decide_rest(
    n_hops: int, pitches_hz: Floats, voicings: Floats, origins: Integers, totals: Floats, decided: Floats
) -> None:
    """Decides the last hops of all: as many as `decided` has columns."""
    n_left = decided.shape[1]
    for column in range(n_left):
        _decide(n_hops - 1, n_hops - n_left + column, pitches_hz, voicings, origins, totals, decided, column)
