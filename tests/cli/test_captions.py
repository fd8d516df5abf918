"""Captions: words beside what was said, on lines and on a terminal, and how many are wrong."""

from __future__ import annotations

import io
import re
from typing import Any

import pyte
import pytest
from msgspec.structs import replace

from voxgate import recordings
from voxgate.cli.captions import Captions, print_word_errors, word_errors
from voxgate.cli.display import Style
from voxgate.protocol.events import Active, Error, Inactive, Segment
from voxgate.recordings import Utterance
from voxgate.recordings.word_errors import WordErrors

TRUTH = (
    (Utterance(1.0, 3.0, "Good morning, Mister Brown!", "a"), Utterance(4.0, 6.0, "Did the boat arrive?", "a")),
    (Utterance(1.5, 2.5, "Yes.", "b"),),
)


class Text(io.StringIO):
    encoding = "utf-8"


class Terminal(Text):
    def isatty(self) -> bool:
        return True


def final(start_s: float, end_s: float, text: str, channel: int = 0) -> Segment:
    return Segment(start_s, end_s, True, {"text": text}, channel)


def interim(start_s: float, end_s: float, text: str, channel: int = 0) -> Segment:
    return Segment(start_s, end_s, False, {"text": text}, channel)


def test_a_final_stands_above_what_was_said() -> None:
    captions = Captions(Style(), Text(), TRUTH)
    assert captions.line(Active(1.0)) is None
    assert captions.line(final(0.9, 3.1, "Good morning, Mr. Brown.")) == (
        "   0.90 –   3.10 s  Good morning, Mr. Brown.\n              said: Good morning, Mister Brown!"
    )
    assert captions.line(Inactive(3.1)) is None


def test_a_final_over_two_utterances_and_a_part_of_one() -> None:
    captions = Captions(Style(), Text(), TRUTH)
    line = captions.line(final(1.0, 6.0, "x"))
    assert line is not None
    assert line.endswith("said: Good morning, Mister Brown! Did the boat arrive?")
    line = captions.line(final(1.0, 1.8, "x"))
    assert line is not None
    assert line.endswith("said: Good morning, Mister Brown!")


@pytest.mark.parametrize("truth", [None, TRUTH, ()])
def test_where_nobody_spoke_there_is_no_reference(truth: Any) -> None:
    assert Captions(Style(), Text(), truth).line(final(8.0, 9.0, "You")) == "   8.00 –   9.00 s  You"


def test_channels_are_named_when_there_are_several() -> None:
    line = Captions(Style(), Text(), TRUTH, channels=2).line(final(1.5, 2.5, "Yes", channel=1))
    assert line == "ch 1     1.50 –   2.50 s  Yes\n                    said: Yes."


def test_everything_else_is_shown_as_ever() -> None:
    captions = Captions(Style(), Text(), TRUTH)
    assert captions.line(Error("no luck")) == " " * 20 + "error     no luck"
    assert captions.line(Segment(0.0, 1.0, True, {"rms": 0.5}, 0)) == "   0.00 –   1.00 s  final     rms 0.5"


def test_text_of_a_model_cannot_steer_the_terminal() -> None:
    line = Captions(Style(), Text(), None).line(final(0.0, 1.0, "a\x1b[2Jb"))
    assert line is not None
    assert "\x1b" not in line


def test_interims_are_lines_where_there_is_no_terminal() -> None:
    captions = Captions(Style(), Text(), TRUTH)
    assert captions.line(interim(1.0, 2.0, "Good mor")) == "   1.00 –   2.00 s  Good mor ..."
    assert captions.line(interim(1.0, 1.1, "")) is None


def test_the_settled_words_of_an_interim_are_solid() -> None:
    for width, solid in ((60, "Good morning"), (40, " morning")):
        out = Terminal()
        captions = Captions(Style(width=width, colour=True), out, TRUTH)
        event = interim(1.0, 2.5, "Good morning my very go")
        assert captions.line(replace(event, stable_text="Good morning")) is None
        assert "".join(re.split(r"\x1b\[90m.*?\x1b\[0m", out.getvalue())) == solid


def test_interims_are_drawn_in_place_on_a_terminal() -> None:
    screen = pyte.Screen(40, 6)
    screen.set_mode(pyte.modes.LNM)
    stream = pyte.Stream(screen)
    out = Terminal()
    captions = Captions(Style(width=40), out, TRUTH)

    def show(event: Any) -> list[str]:
        line = captions.line(event)
        if line is not None:
            print(line, file=out)
        stream.feed(out.getvalue())
        out.seek(0)
        out.truncate()
        return [row.rstrip() for row in screen.display if row.strip()]

    assert show(interim(1.0, 2.0, "Good")) == ["   1.00 –   2.00 s  Good"]
    assert show(interim(1.0, 2.5, "Good morning my very good")) == ["   1.00 –   2.50 s  orning my very good"]
    assert show(Active(1.0)) == ["   1.00 –   2.50 s  orning my very good"]
    assert show(final(1.0, 3.0, "Good day")) == [
        "   1.00 –   3.00 s  Good day",
        "              said: Good morning, Mister",
        "                    Brown!",
    ]


def test_word_errors_count_each_channel_as_one_text() -> None:
    events = [
        final(4.0, 6.0, "Did the boat arise?"),  # finals may come in any order
        interim(1.0, 2.0, "nonsense"),
        final(1.0, 2.0, "Good morning"),
        final(2.0, 3.0, "Mr. Brown"),
        final(1.5, 2.5, "Yes yes", channel=1),
    ]
    assert word_errors(events, TRUTH) == WordErrors(1, 0, 1, 9)
    assert word_errors(events[1:2], TRUTH) is None
    assert word_errors([Segment(0.0, 1.0, True, {"rms": 0.5}, 0)], TRUTH) is None
    assert word_errors([final(0.0, 1.0, "")], TRUTH) == WordErrors(0, 9, 0, 9)


@pytest.mark.parametrize(
    ("text", "limit", "good", "expected"),
    [
        ("Good morning Mister Brown did the boat arrive", 0.1, True, "  ✓ word error rate 0.0 %: 0 of 8 words\n"),
        ("Good morning Mister Crown did the boat arrive", None, True, "  word error rate 12.5 %: 1 of 8 words\n"),
        (
            "Good morning Mister Crown did the boat arrive",
            0.1,
            False,
            "  ✗ word error rate 12.5 %: 1 of 8 words, more than 10 %\n",
        ),
        (None, 0.1, False, "  ✗ no words came back\n"),
        (None, None, True, ""),
    ],
)
def test_the_verdict(text: str | None, limit: float | None, good: bool, expected: str) -> None:
    out = Text()
    events = [] if text is None else [final(1.0, 6.0, text)]
    assert print_word_errors(events, TRUTH[:1], limit, Style(), out) is good
    assert out.getvalue() == expected


def test_the_bundled_recordings_have_words_for_it() -> None:
    truth = recordings.truth("reading")
    events = [final(said.start_s, said.end_s, said.text.upper()) for said in truth[0]]
    assert word_errors(events, truth) == WordErrors(0, 0, 0, 70)
