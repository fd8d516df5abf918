"""Checks from the events alone, without the totals of the server, whether every result arrived.

Segmented: each `active` has its `inactive`, and the finals of a channel cover exactly the time between the two: one
final, or several when the segment was cut at its maximum length. Simple and stateful: the segments of a channel cover
the audio from 0 to its end without a gap. An error event stands in place of one result.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from msgspec import UNSET

from voxgate.protocol.events import Active, Data, Error, Event, Inactive, Segment

__all__ = ["ResultCheck"]

TOLERANCE_S = 0.002
"""Times on the wire are rounded to 1 ms, at both ends."""
ORIGINAL_RATE = 16_000
"""The rate in Hz that streamer-template does not resample."""
RESAMPLER_FRAMES = 260
"""The frames that the resampler of streamer-template (a sinc of 256) never returns, at the rate of the input."""
ANNOUNCED_WITHIN_S = 7.0
"""The largest delay of an `active` after its own time: the longest padding (5 s) plus the longest minimum of speech
(2 s) in the protocol."""


@dataclass
class _Utterance:
    start_s: float
    covered_s: float
    end_s: float | None = None

    @property
    def complete(self) -> bool:
        return self.end_s is not None and self.covered_s >= self.end_s - TOLERANCE_S


class _Channel:
    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.utterances: deque[_Utterance] = deque()  # sorted by time; complete ones are removed from the front
        self.covered_s = 0.0
        self.n_plain = 0
        self.n_errors = 0
        self.holes: list[str] = []  # missing results; an error event may stand for each
        self.faults: list[str] = []  # unexpected results
        self.has_data = False

    def line(self, text: str) -> str:
        return f"channel {self.channel}: {text}"

    def active(self, time_s: float) -> None:
        if self.utterances and self.utterances[-1].end_s is None:
            self.faults.append(self.line(f"active at {time_s:.3f} s while speech was active already"))
        self.utterances.append(_Utterance(time_s, covered_s=time_s))

    def inactive(self, time_s: float) -> None:
        if not self.utterances or self.utterances[-1].end_s is not None:
            self.faults.append(self.line(f"inactive at {time_s:.3f} s without active before it"))
            return
        self.utterances[-1].end_s = time_s
        self.drop_complete()

    def final(self, start_s: float, end_s: float) -> None:
        # Finals arrive in audio order: utterances that end before this one starts get no more results.
        while self.utterances:
            head = self.utterances[0]
            if head.end_s is None or start_s < head.end_s - TOLERANCE_S:
                break
            if not head.complete:
                self.holes.append(self.line(f"no final result for {head.covered_s:.3f}-{head.end_s:.3f} s"))
            self.utterances.popleft()
        bounds = f"{start_s:.3f}-{end_s:.3f} s"
        if not self.utterances or start_s < self.utterances[0].start_s - TOLERANCE_S:
            self.faults.append(self.line(f"a final result for {bounds} that no active announced, or a second one"))
            return
        utterance = self.utterances[0]
        if start_s < utterance.covered_s - TOLERANCE_S:
            self.faults.append(self.line(f"a second final result for {bounds}"))
        elif start_s > utterance.covered_s + TOLERANCE_S:
            self.holes.append(self.line(f"no final result for {utterance.covered_s:.3f}-{start_s:.3f} s"))
        if utterance.end_s is not None and end_s > utterance.end_s + TOLERANCE_S:
            self.faults.append(self.line(f"a final result for {bounds} past inactive at {utterance.end_s:.3f} s"))
        utterance.covered_s = max(utterance.covered_s, end_s)
        self.drop_complete()

    def drop_complete(self) -> None:
        # The last one stays, to distinguish a second final for it from an unannounced final.
        while len(self.utterances) > 1 and self.utterances[0].complete:
            self.utterances.popleft()

    def plain(self, start_s: float, end_s: float) -> None:
        if start_s > self.covered_s + TOLERANCE_S:
            self.holes.append(self.line(f"no result for {self.covered_s:.3f}-{start_s:.3f} s"))
        elif start_s < self.covered_s - TOLERANCE_S:
            self.faults.append(self.line(f"a second result for {start_s:.3f}-{min(end_s, self.covered_s):.3f} s"))
        self.covered_s = max(self.covered_s, end_s)
        self.n_plain += 1

    def answered_s(self, processed_s: float, covering: bool) -> float:
        if covering:
            return processed_s if self.has_data else self.covered_s
        end_s = 0.0
        for utterance in self.utterances:
            if not utterance.complete:
                return utterance.covered_s
            end_s = utterance.covered_s
        return max(end_s, processed_s - ANNOUNCED_WITHIN_S)

    def summed_error_s(self) -> float:
        """The largest error at the end of the results on a server that adds up their durations in float32."""
        if not self.covered_s:
            return 0.0
        return self.n_plain * 2.0 ** (math.frexp(self.covered_s)[1] - 25)  # half a unit in the last place, each time

    def problems(self, cover_until_s: float | None, tolerance_s: float = TOLERANCE_S) -> list[str]:
        holes = list(self.holes)
        for utterance in self.utterances:
            if utterance.end_s is None:
                self.faults.append(self.line(f"speech active at {utterance.start_s:.3f} s never became inactive"))
            elif not utterance.complete:
                holes.append(self.line(f"no final result for {utterance.covered_s:.3f}-{utterance.end_s:.3f} s"))
        if cover_until_s is not None and not self.has_data and self.covered_s < cover_until_s - tolerance_s:
            holes.append(self.line(f"no result for {self.covered_s:.3f}-{cover_until_s:.3f} s"))
        return self.faults + holes[self.n_errors :]


class ResultCheck:
    """Receives every event of one session in order; `problems` then lists the missing results.

    `channels`: the number of channels sent. `covering`: results must cover the whole audio (the simple and the stateful
    route). Never raises: an unexpected event becomes a problem.
    """

    def __init__(self, channels: int, covering: bool = False) -> None:
        self.covering = covering
        self._n_channels = channels
        self.n_results = 0
        """Final segments, plain segments and data."""
        self.n_interims = 0
        """Segments that are not final."""
        self.n_errors = 0
        """Error events."""
        self._channels = {channel: _Channel(channel) for channel in range(channels)}

    def receive(self, event: Event) -> None:
        """The next event of the session, of any type."""
        channel = self._channels.setdefault(event.channel, _Channel(event.channel))
        match event:
            case Active(time=time_s):
                channel.active(time_s)
            case Inactive(time=time_s):
                channel.inactive(time_s)
            case Error():
                self.n_errors += 1
                channel.n_errors += 1
            case Segment(is_final=False):
                self.n_interims += 1
            case Segment(start_time=start_s, end_time=end_s, is_final=is_final):
                self.n_results += 1
                if is_final is not UNSET:
                    channel.final(start_s, end_s)
                elif self.covering:
                    channel.plain(start_s, end_s)
            case Data():
                self.n_results += 1
                channel.has_data = True
            case _:
                pass

    def answered_s(self, processed_s: float) -> list[float]:
        """For each channel, the second of the session up to which every result has arrived.

        `processed_s`: of the last progress notice, 0 without one; audio before it without speech needs no result.
        """
        return [
            channel.answered_s(processed_s, self.covering)
            for _, channel in sorted(self._channels.items())[: self._n_channels]
        ]

    def problems(self, sent_s: float, original_rate: int | None = None) -> list[str]:
        """The missing and unexpected results, one line each; empty when every result arrived. To be called once.

        `sent_s`: seconds of sent audio. `original_rate`: the rate in Hz of the audio, when the server may be
        streamer-template, which adds up times in float32 and whose resampler drops the last milliseconds.
        """
        until_s = sent_s if self.covering else None
        if original_rate is None:
            return [text for channel in self._channels.values() for text in channel.problems(until_s)]
        kept_s = 0.0 if original_rate == ORIGINAL_RATE else RESAMPLER_FRAMES / original_rate
        return [
            text
            for channel in self._channels.values()
            for text in channel.problems(until_s, TOLERANCE_S + kept_s + channel.summed_error_s())
        ]
