"""The part of `voxgate demo` that streams a recording through one route and shows the results."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from msgspec import UNSET

from voxgate import client
from voxgate.cli.captions import Captions, print_word_errors
from voxgate.cli.comparison import TOLERANCE_S, Comparison, Detected, collect_detected, compare
from voxgate.cli.display import PrettyRenderer, Style
from voxgate.cli.show import explain
from voxgate.client import ClientError, Options, RejectedError, Stream, VadOptions
from voxgate.protocol.events import Error, Event, Segment
from voxgate.recordings import Utterance

__all__ = ["Demo"]

_CONTINUOUS_SPEED = 4.0
"""The slowest pace, relative to real time, on the routes whose output is not worth watching in real time."""

Truth = Sequence[Sequence[Utterance]]


@dataclass(frozen=True)
class Demo:
    """Streams one recording through the routes of one server."""

    url: str
    """http://HOST:PORT"""
    path: Path
    truth: Truth | None
    """The utterances of each channel; None for a recording that is not bundled."""
    speed: float
    """Relative to real time; 0 sends without pauses."""
    style: Style
    out: TextIO
    tolerance_s: float = TOLERANCE_S
    """The largest accepted difference between the detected times and `truth`."""
    with_captions: bool = False
    """Show the words of each final on the segmented route, and no events."""
    word_error_limit: float | None = None
    """The highest accepted word error rate on the segmented route; None accepts any."""

    async def run(self, route: str) -> bool:
        """Whether every result arrived, none was an error, the detected utterances agree with the truth, and the word
        error rate is within its limit.
        """
        return await (self._run_segmented() if route == "segmented" else self._run_continuous(route))

    async def _run_segmented(self) -> bool:
        # Without padding, the times are those of the speech itself, which a listener can check.
        stream = client.stream(
            self.path,
            **Options(
                addr=f"{self.url}/api/v1/segmented",
                real_time=self.speed,
                interim_results=True,
                stability=True,
                vad=VadOptions(prefix_padding_ms=0, suffix_padding_ms=0),
            ),
        )
        self._print(f"\n{self._title('segmented', stream, self.speed)} (vad: prefix_padding_ms 0)")
        channels = stream.channels
        renderer: Captions | PrettyRenderer = PrettyRenderer(self.style, channels)
        if self.with_captions:
            renderer = Captions(self.style, self.out, self.truth, channels)
        events, is_good = await self._show(stream, renderer)
        if self.truth is None:
            return is_good
        comparison = compare(collect_detected(events), self.truth, self.tolerance_s)
        self._print_comparison(comparison, self.truth)
        is_understood = print_word_errors(events, self.truth, self.word_error_limit, self.style, self.out)
        return is_good and comparison.agrees and is_understood

    async def _run_continuous(self, route: str) -> bool:
        """A route whose results cover all audio, speech or not."""
        speed = max(self.speed, _CONTINUOUS_SPEED) if self.speed else 0.0
        stream = client.stream(self.path, addr=f"{self.url}/api/v1/{route}", real_time=speed)
        self._print(f"\n{self._title(route, stream, speed)}, one line shown per second")
        renderer = _OnePerSecond(PrettyRenderer(self.style, stream.channels), self.truth, self.style)
        events, is_good = await self._show(stream, renderer)
        if route == "stateful":
            for line in renderer.last():
                self._print(line)
        if is_good:
            n_results = sum(isinstance(event, Segment) for event in events)
            text = f"{n_results} results cover all {stream.sent_s:.2f} s"
            if stream.channels > 1:
                text += f" of {stream.channels} channels"
            self._print(f"  {self.style.tick(True)} {text}")
        return is_good

    async def _show(
        self, stream: Stream, renderer: Captions | PrettyRenderer | _OnePerSecond
    ) -> tuple[list[Event], bool]:
        """Prints the events as they arrive; the events, and whether every result arrived and none was an error."""
        events: list[Event] = []
        is_good = True
        try:
            async with contextlib.aclosing(aiter(stream)) as source:
                async for event in source:
                    events.append(event)
                    is_good = is_good and not isinstance(event, Error)
                    if (line := renderer.line(event)) is not None:
                        self._print(line)
        except (ClientError, OSError) as error:
            # The reason of a rejected start was shown as an event.
            text = "the server did not accept the session" if isinstance(error, RejectedError) else explain(error)
            self._print(self.style.red(f"  {self.style.tick(False)} {text}"))
            is_good = False
        return events, is_good

    def _print_comparison(self, comparison: Comparison, truth: Truth) -> None:
        style = self.style
        self._print(f"\ndetected and spoken utterances{style.grey(' (the bundled recordings say when they speak)')}:")
        for detected, spoken in comparison.pairs:
            text = (
                f"detected {detected.start_s:5.2f}{style.dash}{detected.end_s:5.2f} s, "
                f"spoken {spoken.start_s:5.2f}{style.dash}{spoken.end_s:5.2f} s  {style.quote(spoken.text)}"
            )
            self._print_utterance(detected.difference_s(spoken) <= comparison.tolerance_s, detected.channel, text)
        for channel, spoken in comparison.missed:
            times = f"{spoken.start_s:.2f}{style.dash}{spoken.end_s:.2f} s"
            self._print_utterance(False, channel, f"not detected, spoken {times}  {style.quote(spoken.text)}")
        for detected in comparison.extra:
            self._print_utterance(False, detected.channel, self._extra_text(detected))
        n_spoken = sum(len(utterances) for utterances in truth)
        text = f"{len(comparison.pairs)} of {n_spoken} utterances detected"
        if comparison.pairs:
            text += f", at most {comparison.largest_difference_s * 1000:.0f} ms off"
        self._print(f"  {style.tick(comparison.agrees)} {text}")

    def _extra_text(self, detected: Detected) -> str:
        return f"detected {detected.start_s:.2f}{self.style.dash}{detected.end_s:.2f} s, where nobody spoke"

    def _print_utterance(self, is_good: bool, channel: int, text: str) -> None:
        where = f"ch {channel}  " if self.truth is not None and len(self.truth) > 1 else ""
        line = f"  {self.style.tick(is_good)} {where}{text}"
        self._print(line if is_good else self.style.red(line))

    def _title(self, route: str, stream: Stream, speed: float) -> str:
        pace = "as fast as possible" if not speed else "in real time" if speed == 1 else f"at {speed:g} x real time"
        length = "" if stream.duration_s is None else f", {stream.duration_s:.1f} s"
        return f"{self.style.bold(route)}: {self.path.name}{length}, {pace}"

    def _print(self, line: str) -> None:
        print(line, file=self.out, flush=True)


class _OnePerSecond:
    """Shows the first segment that ends in each second of a channel, with the words spoken there, and every error."""

    def __init__(self, renderer: PrettyRenderer, truth: Truth | None, style: Style) -> None:
        self._renderer = renderer
        self._truth = truth
        self._style = style
        self._shown_s: dict[int, int] = {}
        self._hidden: dict[int, str] = {}

    def last(self) -> list[str]:
        """The last segment of each channel that has not been shown: some models summarize the audio in it."""
        return list(self._hidden.values())

    def line(self, event: Event) -> str | None:
        line = self._renderer.line(event)
        if not isinstance(event, Segment) or event.is_final is not UNSET:
            return line
        second = int(event.end_time)
        if second <= self._shown_s.get(event.channel, -1):
            self._hidden[event.channel] = line or ""
            return None
        self._shown_s[event.channel] = second
        self._hidden.pop(event.channel, None)
        if self._truth is None or event.channel >= len(self._truth):
            return line
        spoken = [
            self._style.quote(one.text)
            for one in self._truth[event.channel]
            if one.start_s < event.end_time and one.end_s > event.start_time
        ]
        return f"{line}  {self._style.grey('spoken: ' + ' '.join(spoken))}" if spoken else line
