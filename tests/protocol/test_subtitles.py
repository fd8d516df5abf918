"""Subtitles from cues."""

from __future__ import annotations

from voxgate.protocol.subtitles import Cue, srt, vtt

CUES = [Cue(3661.5, 3662.25, "second\n\nline --> x"), Cue(0.0, 0.0, "a < b & c", "Ann"), Cue(1.0, 2.0, "  ")]


def test_srt():
    assert srt(CUES) == (
        "1\n00:00:00,000 --> 00:00:00,001\nAnn: a < b & c\n\n2\n01:01:01,500 --> 01:01:02,250\nsecond line -> x\n"
    )


def test_vtt():
    assert vtt(CUES) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:00.001\n<v Ann>a &lt; b &amp; c\n\n"
        "01:01:01.500 --> 01:01:02.250\nsecond line --&gt; x\n"
    )


def test_no_cues():
    assert (srt([]), vtt([])) == ("", "WEBVTT\n")
