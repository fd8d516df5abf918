"""Subtitles, read by a parser that is not ours."""

from __future__ import annotations

import io
from typing import Any

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from voxgate.cli.subtitles import Subtitles
from voxgate.protocol.events import Active, Error, Event, Segment


def subtitles(*events: Event, channels: int = 1) -> Subtitles:
    found = Subtitles(channels)
    for event in events:
        found.take(event)
    return found


def read(text: str, format: str) -> Any:
    return webvtt.from_buffer(io.StringIO(text), format=format)


def said(start_s: float, end_s: float, text: str, channel: int = 0) -> Segment:
    return Segment(start_s, end_s, True, {"text": text}, channel)


def test_finals_only_in_order_of_time() -> None:
    found = subtitles(
        Active(0.5),
        said(3605.25, 3607.0, "late"),
        Segment(0.5, 0.9, False, {"text": "he"}),
        said(0.5, 1.25, "hello"),
        Error("no"),
        Segment(2.0, 2.0, UNSET, {"level_dbfs": -20.123, "voiced": True}),
        said(1.5, 1.75, " \n "),
    )
    assert found.srt() == (
        "1\n00:00:00,500 --> 00:00:01,250\nhello\n\n"
        "2\n00:00:02,000 --> 00:00:02,001\nlevel_dbfs=-20.12 voiced=true\n\n"
        "3\n01:00:05,250 --> 01:00:07,000\nlate\n"
    )
    assert found.vtt().startswith("WEBVTT\n\n00:00:00.500 --> 00:00:01.250\nhello\n\n")
    for format, text in (("srt", found.srt()), ("vtt", found.vtt())):
        cues = [(cue.start_in_seconds, cue.end_in_seconds, cue.text) for cue in read(text, format)]
        assert [cue[2] for cue in cues] == ["hello", "level_dbfs=-20.12 voiced=true", "late"]
        assert cues[2][0] == 3605


def test_overlapping_channels_say_who_speaks() -> None:
    found = subtitles(said(1.0, 4.0, "b", 1), said(0.0, 3.0, "a", 0), said(3.5, 5.0, "c", 0), channels=2)
    cues = read(found.vtt(), "vtt")
    assert [(cue.start, cue.voice, cue.text) for cue in cues] == [
        ("00:00:00.000", "Channel 0", "a"),
        ("00:00:01.000", "Channel 1", "b"),
        ("00:00:03.500", "Channel 0", "c"),
    ]
    assert [cue.text for cue in read(found.srt(), "srt")] == ["Channel 0: a", "Channel 1: b", "Channel 0: c"]


def test_nothing_was_said() -> None:
    assert subtitles().srt() == ""
    assert list(read(subtitles().vtt(), "vtt")) == []


def test_markup_in_a_text_stays_text() -> None:
    found = subtitles(said(0, 1, "1 < 2 & <b>3</b> --> 4"))
    assert "1 &lt; 2 &amp; &lt;b&gt;3&lt;/b&gt; --&gt; 4" in found.vtt()
    assert "-->" not in found.srt().split("\n")[2]


@pytest.mark.parametrize("format", ["srt", "vtt"])
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=12))
)
def test_any_text_stays_in_its_cue(format: str, texts: list[str]) -> None:
    found = subtitles(*(said(i, i + 1, text) for i, text in enumerate(texts)))
    written = getattr(found, format)()
    cues = list(read(written, format)) if written else []  # an srt of nothing is empty, which the parser refuses
    assert [cue.start_in_seconds for cue in cues] == [i for i, text in enumerate(texts) if text.split()]
