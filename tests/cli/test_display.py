"""What a person and what a program gets to see."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from voxgate.cli import subtitles
from voxgate.cli.display import JsonlRenderer, PrettyRenderer, Style, format_output, n_settled, printable, wants_colour
from voxgate.cli.show import explain
from voxgate.client import ClosedError, RefusedError
from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Event,
    Finished,
    Inactive,
    Progress,
    Segment,
    SpeechResumed,
    Started,
    UnknownEvent,
)
from voxgate.protocol.json_codec import parse_event

EVENTS: tuple[Event, ...] = (
    Active(0.7, 1),
    Segment(0.7, 1.25, False, {"text": "good", "loudness_dbfs": -20.123456}, 1),
    Segment(0.7, 1.25, False, {"text": "good"}, eager=True),
    SpeechResumed(1.9),
    Inactive(3.1, 1),
    Segment(0.7, 3.1, True, {"text": "good morning"}, 1),
    Segment(0.0, 1.5, UNSET, {"count": 24_000}, 0),
    Segment(0.7, 3.1, True, {"text": "good morning"}, turn_probability=0.981),
    Data({"count": 3}, 0),
    Error("it failed", "inference_failed", 0),
    Started("abc", "features", {"channels": 8}),
    Progress(4.0, 3.5, 0.5, 0.01),
    Finished(12.5, 12.5, 4, 1),
    Draining(30.0),
    UnknownEvent("weather", {"type": "weather", "sun": True, "channel": 0}),
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Ascii(io.StringIO):
    encoding = "ascii"


def pretty(event: Event, style: Style | None = None, channels: int = 1) -> str:
    line = PrettyRenderer(style or Style(), channels).line(event)
    assert line is not None
    return line


def test_pretty_lines_at_a_glance() -> None:
    assert [pretty(event) for event in EVENTS] == [
        "   0.70 s           active",
        "   0.70 –   1.25 s  interim   “good”  loudness_dbfs -20.12",
        "   0.70 –   1.25 s  eager     “good”",
        "   1.90 s           resumed",
        "   3.10 s           inactive",
        "   0.70 –   3.10 s  final     “good morning”",
        "   0.00 –   1.50 s  segment   count 24000",
        "   0.70 –   3.10 s  final     “good morning”  turn 0.981",
        "                    data      count 3",
        "                    error     it failed (inference_failed)",
        "                    started   session abc, model features",
        "                    progress  processed 3.50 of 4.00 s, lag 0.50 s, real-time factor 0.01",
        "                    finished  12.50 s of audio, 4 results, 1 error",
        "                    draining  the server stops within 30 s",
        "                    weather   sun true",
    ]


def test_names_stand_in_one_column_for_all_times() -> None:
    for time_s in (0.0, 9.999, 99.5, 599.99):
        assert pretty(Active(time_s)).index("active") == 20
        assert pretty(Segment(time_s, time_s + 1, True, {})).index("final") == 20


def test_long_lines_are_continued_under_their_values() -> None:
    event = Segment(0.7, 3.1, True, {"text": "good  morning", "level_dbfs": -20.5, "pitch_hz": 105.25, "ratio": 0.5})
    assert pretty(event, Style(width=54)).split("\n") == [
        "   0.70 –   3.10 s  final     “good  morning”",
        "                              level_dbfs -20.5",
        "                              pitch_hz 105.2",
        "                              ratio 0.5",
    ]
    assert pretty(event, Style(width=60)).split("\n")[1].endswith("level_dbfs -20.5")
    assert "\n" not in pretty(event, Style())
    # Nothing is lost on a terminal that is too narrow for anything.
    assert "".join(pretty(event, Style(width=1)).split()) == "".join(pretty(event).split())
    painted = pretty(event, Style(colour=True, width=54)).split("\n")
    assert all(line.startswith("\x1b[1m") and line.endswith("\x1b[0m") for line in painted)


def test_the_channel_shows_when_there_are_several() -> None:
    assert pretty(Active(0.7, 1), channels=2) == "ch 1     0.70 s           active"


def test_colours_interims_grey_finals_bold_errors_red() -> None:
    colour = Style(colour=True)
    assert pretty(Segment(0, 1, False, {}), colour).startswith("\x1b[90m")
    assert pretty(Segment(0, 1, True, {}), colour).startswith("\x1b[1m")
    assert pretty(Error("no"), colour).startswith("\x1b[1;31m")
    for event in EVENTS:
        painted = pretty(event, colour)
        assert painted.endswith("\x1b[0m")
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == pretty(event)


@pytest.mark.parametrize(
    ("text", "stable_text", "solid"),
    [
        ("good morning every", "good morning", "good morning"),
        (" good  morning every", "good morning", " good  morning"),
        ("the 東京 tower is", "the 東京 tower", "the 東京 tower"),
        ("good evening", "good morning", ""),  # the text has changed
        ("good", "good morning", ""),
        ("good morning", "", ""),
        ("good morning", UNSET, ""),
        ("a\x07b c", "a\x07b", "a b"),
    ],
)
def test_the_settled_part_of_an_interim(text: str, stable_text: Any, solid: str) -> None:
    event = Segment(0, 1, False, {"text": text}, stable_text=stable_text)
    n = n_settled(event)
    assert printable(text)[:n] == solid
    painted = pretty(event, Style(colour=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == pretty(event)
    solid_parts = re.split(r"\x1b\[90m.*?\x1b\[0m", painted)
    assert "".join(solid_parts) == solid
    assert n_settled(Segment(0, 1, False, {"count": 1}, stable_text="a")) == 0


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_and_not_for_those_who_decline(
    stream: io.StringIO, environ: dict[str, str], wanted: bool
) -> None:
    assert wants_colour(stream, environ) is wanted
    assert Style.of(stream, environ).colour is wanted


def test_an_ascii_output_gets_ascii() -> None:
    style = Style.of(Ascii(), {})
    for event in EVENTS:
        assert pretty(event, style).isascii()
    assert (style.tick(True), style.tick(False), style.quote("a")) == ("ok", "!!", '"a"')


EVIL = "\x1b[2J\x07\r\nx\x9b31m\u202ey\u2028z\x7f"


@pytest.mark.parametrize("written", [subtitles.Subtitles.srt, subtitles.Subtitles.vtt])
def test_nothing_of_a_text_drives_the_terminal(written: Callable[[subtitles.Subtitles], str]) -> None:
    found = subtitles.Subtitles(1)
    found.take(Segment(0, 1, True, {"text": EVIL}))
    found.take(Segment(1, 2, True, {EVIL: EVIL}))
    event = JsonlRenderer().line(Segment(0, 1, True, {"text": EVIL}))
    assert json.loads(event)["text"] == EVIL
    for text in (written(found), event, explain(RefusedError(500, EVIL)), explain(ClosedError(EVIL))):
        for line in text.split("\n"):
            assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c == "\u202e"]


@given(st.text())
def test_what_is_printable_has_no_controls_and_keeps_the_rest(text: str) -> None:
    plain = printable(text)
    assert len(plain) == len(text)
    assert not [c for c in plain if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    plain.encode("utf-8")
    assert printable(plain) == plain


def test_joiners_and_wide_spaces_are_letters_of_a_text() -> None:
    for text in ("می\u200cخواهم", "👩\u200d🚀", "a\u00a0b", "東\u3000京"):
        assert printable(text) == text


def test_a_server_cannot_drive_the_terminal() -> None:
    evil = "\x1b[2J\x07\r\nx"
    for event in (
        Error(evil, evil),
        Segment(0, 1, True, {"text": evil, evil: evil, "deep": [evil]}),
        Started(evil, evil, {}),
        UnknownEvent(evil, {"type": evil, "more": evil}),
    ):
        assert pretty(event).isprintable()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"pitch_hz": 118.23456, "voiced": True, "words": 3}, "pitch_hz 118.2  voiced true  words 3"),
        ({"n": 1, "text": "last"}, "“last”  n 1"),
        ({"text": 5}, "text 5"),
        ({"big": 123456.789, "tiny": 1.5e-7, "none": None}, "big 123457  tiny 1.5e-07  none null"),
        ({"words": [{"w": "a", "p": 0.5}]}, 'words [{"w": "a", "p": 0.5}]'),
        ({"words": [{"w": "a", "p": 0.5}] * 9, "text": "a"}, "“a”  words [9 items]"),
        ({"hz": [None] * 20 + [90.04, 210, 100.0]}, "hz [23 items, 90.04 to 210]"),
        ({"hz": [None] * 20, "is": [True] * 20}, "hz [20 items]  is [20 items]"),
        ({"one": ["x" * 60], "more": {str(i): i for i in range(20)}}, "one [1 item]  more {20 items}"),
        ({}, "(empty)"),
    ],
)
def test_model_output_in_one_line(output: dict[str, object], text: str) -> None:
    assert format_output(output, Style()) == text


def test_jsonl_is_the_wire_and_comes_back_as_the_same_event() -> None:
    for event in EVENTS:
        line = JsonlRenderer().line(event)
        assert line is not None
        assert "\n" not in line
        assert json.loads(line)["type"] == event.type
        assert parse_event(line) == event
