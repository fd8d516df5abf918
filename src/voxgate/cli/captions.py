"""Live captions of a recording whose words are known: what the model understood, above what was said."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TextIO

from voxgate.cli.display import PrettyRenderer, Style, n_settled, printable
from voxgate.cli.live import columns_of, cut
from voxgate.protocol.events import Active, Event, Inactive, Segment, SpeechResumed
from voxgate.recordings import Utterance
from voxgate.recordings.word_errors import WordErrors, count_word_errors

__all__ = ["Captions", "print_word_errors", "word_errors"]

Truth = Sequence[Sequence[Utterance]]


class Captions:
    """A renderer of events: each final with the words of the truth below it, interims in the last line of a terminal
    (elsewhere as lines of their own), everything else as :class:`PrettyRenderer` shows it. Where speech begins and ends
    is not shown.
    """

    def __init__(self, style: Style, out: TextIO, truth: Truth | None, channels: int = 1) -> None:
        self._style = style
        self._out = out
        self._truth = truth
        self._channels = channels
        self._others = PrettyRenderer(style, channels)
        self._in_place = out.isatty()
        self._drawn = False

    def line(self, event: Event) -> str | None:
        if isinstance(event, Active | Inactive | SpeechResumed):
            return None
        if not isinstance(event, Segment) or not isinstance(event.output.get("text"), str):
            self._erase()
            return self._others.line(event)
        if event.is_final is False:
            return self._interim(event)
        self._erase()
        head = self._head(event)
        lines = [self._style.bold(row) for row in self._rows(head, printable(event.output["text"]))]
        if said := self._said(event):
            lines += [self._style.grey(row) for row in self._rows("said: ".rjust(columns_of(head)), said)]
        return "\n".join(lines)

    def _rows(self, head: str, text: str) -> list[str]:
        """`head` and `text`, on as many lines as the terminal needs, all below the first word of `text`."""
        width = self._style.width
        if width is None or width - len(head) < 12:
            return [head + text]
        return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * len(head)) or [head]

    def _head(self, event: Segment) -> str:
        channel = f"ch {event.channel}  " if self._channels > 1 else ""
        return f"{channel}{self._style.range(event.start_time, event.end_time)}  "

    def _interim(self, event: Segment) -> str | None:
        head, text = self._head(event), printable(event.output["text"])
        if not self._in_place:
            return self._style.grey(f"{head}{text} ...") if text else None
        # One column stays free: a line that fills the last one makes some terminals begin another.
        columns = (self._style.width or 80) - 1
        room = columns - columns_of(head)
        shown = cut(text, room, keep_end=True)
        line = cut(head, columns) if room < 12 else head + shown
        end = len(line) - len(text) + n_settled(event)
        self._erase()
        self._out.write(self._style.faded(line, len(head), end))
        self._out.flush()
        self._drawn = True
        return None

    def _erase(self) -> None:
        if self._drawn:
            self._out.write("\r\x1b[K")
            self._drawn = False

    def _said(self, event: Segment) -> str:
        """The words of the utterances that lie in the middle of the segment, or in whose middle it lies."""
        if self._truth is None or event.channel >= len(self._truth):
            return ""

        def together(one: Utterance) -> bool:
            overlap_s = min(one.end_s, event.end_time) - max(one.start_s, event.start_time)
            return 2 * overlap_s > min(one.end_s - one.start_s, event.end_time - event.start_time)

        return " ".join(one.text for one in self._truth[event.channel] if together(one))


def word_errors(events: Sequence[Event], truth: Truth) -> WordErrors | None:
    """The words of all finals against those of the truth, channel by channel; None when no final has a text.

    Each channel is compared as one text, so that it makes no difference where the detector cut it.
    """
    finals = [
        event
        for event in events
        if isinstance(event, Segment) and event.is_final is True and isinstance(event.output.get("text"), str)
    ]
    if not finals:
        return None
    total = WordErrors(0, 0, 0, 0)
    for channel, utterances in enumerate(truth):
        found = [event for event in finals if event.channel == channel]
        found.sort(key=lambda event: event.start_time)
        total += count_word_errors(
            " ".join(said.text for said in utterances), " ".join(event.output["text"] for event in found)
        )
    return total


def print_word_errors(events: Sequence[Event], truth: Truth, limit: float | None, style: Style, out: TextIO) -> bool:
    """Prints the word error rate, when there are words. False when it exceeds `limit` (None: it cannot), or when there
    are no words where a limit was set.
    """
    errors = word_errors(events, truth)
    if errors is None:
        if limit is not None:
            print(style.red(f"  {style.tick(False)} no words came back"), file=out, flush=True)
        return limit is None
    good = limit is None or errors.rate <= limit
    mark = f"{style.tick(good)} " if limit is not None else ""
    text = f"word error rate {errors.rate * 100:.1f} %: {errors.total} of {errors.reference} words"
    at_most = "" if good or limit is None else f", more than {limit * 100:g} %"
    line = f"  {mark}{text}{at_most}"
    print(line if good else style.red(line), file=out, flush=True)
    return good
