"""What the targets of containers check: cuts change nothing, and what comes out is bounded by what went in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fuzz.source import Source
from helpers.demuxing import decode, demux

MOST_GAP = 60 * 48_000


def check_demuxer(make: Callable[[], Any], data: bytes, source: Source) -> None:
    at_once, in_pieces = make(), make()
    expected = demux(at_once, [data], True)
    assert demux(in_pieces, source.pieces(data, source.integer(1, 12)), True) == expected
    assert in_pieces.is_truncated == at_once.is_truncated
    assert in_pieces.n_parts == at_once.n_parts or at_once.error is not None
    n_bytes = 0
    for event in expected:
        if event[0] == 1:
            _, packet, _, duration, gap, trim_begin, trim_end = event
            n_bytes += len(packet)
            assert 0 <= duration <= 5760
            assert 0 <= gap <= MOST_GAP
            assert trim_begin >= 0
            assert trim_end >= 0
            assert trim_begin + trim_end <= duration
    assert n_bytes <= len(data)


def check_decoder(make: Callable[[], Any], data: bytes, source: Source) -> None:
    """Of FLAC: empty events are turns for others, and may come anywhere."""
    at_once, in_pieces = make(), make()
    expected = list(filter(None, demux(at_once, [data], True)))
    assert list(filter(None, demux(in_pieces, source.pieces(data, source.integer(1, 12)), True))) == expected
    for name in ("is_truncated", "n_parts", "n_damaged", "pos", "gap"):
        assert getattr(in_pieces, name) == getattr(at_once, name), name
    assert 0 <= at_once.gap <= MOST_GAP * 20  # 60 s at any rate


def check_container(make: Callable[[], Any], data: bytes, source: Source) -> None:
    expected, error = decode(make(), [data])
    pcm, other = decode(make(), source.pieces(data, source.integer(1, 12)))
    assert pcm == expected
    assert (type(other), str(other)) == (type(error), str(error))
    assert len(pcm) <= len(data)
