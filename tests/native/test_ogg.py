"""Ogg: every packet is FFmpeg's, however the bytes are cut; lost pages, trimmed ends and damage are reported."""

from __future__ import annotations

import copy
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.demuxing import MEDIA, cut, demux, every, ffmpeg_packets
from helpers.matroska import opus_head
from helpers.ogg_pages import CONTINUED, FIRST, LAST, TAGS, headers, page
from voxgate._native.ogg import HEAD, MAX_PACKET_BYTES, MAX_SKIPPED_BYTES, PACKET, OggDemuxer

OPUS = (HEAD, "opus", opus_head())
SILK_20_MS = b"\x48"


def packet(index: int, n_bytes: int = 40, toc: bytes = SILK_20_MS) -> bytes:
    return toc + bytes((index * 31 + place * 7) % 256 for place in range(n_bytes - 1))


def stream(n_packets: int = 12, per_page: int = 3, serial: int = 7, trim: int = 0) -> list[bytes]:
    """The pages of a whole stream: two of headers, then audio."""
    pages, sequence = [headers(serial)], 2
    for begin in range(0, n_packets, per_page):
        end = min(begin + per_page, n_packets)
        is_last = end == n_packets
        granule = 960 * end - (trim if is_last else 0)
        packets = [packet(index) for index in range(begin, end)]
        pages.append(page(packets, granule, sequence, LAST if is_last else 0, serial))
        sequence += 1
    return pages


def found(data: bytes, n_bytes: int | None = None) -> list[tuple]:
    return demux(OggDemuxer(), [data] if n_bytes is None else every(data, n_bytes), is_all=True)


def audio(index: int, pos: int | None = None, gap: int = 0, trim: int = 0) -> tuple:
    return (PACKET, packet(index), 960 * index if pos is None else pos, 960, gap, 0, trim)


@pytest.mark.parametrize("name", sorted(path.name for path in MEDIA.glob("*.ogg")))
def test_browsers_packets_are_those_of_ffmpeg(name):
    data = (MEDIA / name).read_bytes()
    events, theirs = found(data), ffmpeg_packets(data)
    assert [event[1] for event in events[1:]] == [data for data, _ in theirs]
    assert [(event[2] - 312) / 48_000 for event in events[1:]] == pytest.approx([time for _, time in theirs])
    assert {event[4] for event in events[1:]} == {0}
    assert events == found(data, 1) == found(data, 77)


def test_a_whole_stream():
    data = b"".join(stream(trim=500))
    expected = [OPUS, *map(audio, range(11)), audio(11, trim=500)]
    assert found(data) == expected == found(data, 1)
    demuxer = OggDemuxer()
    demux(demuxer, [data])
    assert not demuxer.is_truncated
    assert demuxer.n_pages_lost == 0


def test_an_end_that_is_trimmed_by_more_than_a_packet():
    events = found(b"".join(stream(6, 6, trim=960 + 960 + 7)))
    assert [event[6] for event in events[1:]] == [0, 0, 0, 7, 960, 960]


def test_packets_that_span_pages():
    sizes = [255, 510, 254, 700, 3000, 1]
    packets = [packet(k, size) for k, size in enumerate(sizes)]
    data = headers() + page([packets[0], packets[1][:255]], 960, 2, is_open=True)
    data += page([packets[1][255:], packets[2], packets[3][:510]], 3 * 960, 3, CONTINUED, is_open=True)
    data += page([packets[3][510:], packets[4][:765]], 4 * 960, 4, CONTINUED, is_open=True)
    data += page([packets[4][765:1530]], -1, 5, CONTINUED, is_open=True)
    data += page([packets[4][1530:], packets[5]], 6 * 960, 6, CONTINUED | LAST)
    events = found(data, 1)
    assert [event[1:5] for event in events[1:]] == [(data, 960 * k, 960, 0) for k, data in enumerate(packets)]
    assert [event[1] for event in events[1:]] == [data for data, _ in ffmpeg_packets(data)]


def test_the_head_of_a_packet_is_known_across_pages():
    long = packet(0, 510, b"\x4b")[:1] + b"\x02" + packet(0, 508)  # two frames of 20 ms
    data = headers() + page([long[:255]], -1, 2, is_open=True) + page([long[255:], packet(1)], 2880, 3, CONTINUED)
    assert [event[2:4] for event in found(data)[1:]] == [(0, 1920), (1920, 960)]


def test_a_comment_header_of_many_pages_is_dropped():
    tags = TAGS + bytes(255 * 300)
    tags = tags[: len(tags) // 255 * 255]
    data = page([opus_head()], 0, 0, FIRST) + page([tags[: 255 * 200]], 0, 1, is_open=True)
    data += page([tags[255 * 200 :]], 0, 2, CONTINUED) + page([packet(0)], 960, 3, LAST)
    assert found(data) == [OPUS, audio(0)]


def test_chained_streams():
    data = b"".join(stream(4) + stream(3, serial=8, trim=5) + stream(2, serial=7))
    assert found(data, 100) == [
        OPUS, *map(audio, range(4)), OPUS, audio(0), audio(1), audio(2, trim=5), OPUS, audio(0), audio(1)
    ]  # fmt: skip


def test_other_streams_are_skipped():
    heads = page([b"\x80theora" + bytes(40)], 0, 0, FIRST, 1) + page([opus_head()], 0, 0, FIRST, 7)
    heads += page([opus_head(2)], 0, 0, FIRST, 9)
    data = heads + page([b"theora"], 0, 1, 0, 1) + page([TAGS], 0, 1) + page([TAGS], 0, 1, 0, 9)
    for index in range(4):
        data += page([b"picture"], index, 2 + index, 0, 1) + page([packet(index)], 960 * (index + 1), 2 + index)
        data += page([packet(50)], 960 * (index + 1), 2 + index, 0, 9)
    assert found(data, 1) == [OPUS, *map(audio, range(4))]


def test_flac():
    info = b"\x7fFLAC\x01\0\0\1fLaC\0\0\0\x22" + bytes(34)
    data = page([info], 0, 0, FIRST) + page([b"\x84\0\0\4tags"], 0, 1)
    data += page([b"\xff\xf8frame", b"\xff\xf8" + bytes(253)], 9, 2, is_open=True) + page(
        [b"end"], 10, 3, CONTINUED | LAST
    )
    assert found(data, 1) == [
        (HEAD, "flac", info), (PACKET, b"\xff\xf8frame", 0, 0, 0, 0, 0),
        (PACKET, b"\xff\xf8" + bytes(253) + b"end", 0, 0, 0, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("n_lost", [1, 2])
def test_lost_pages_are_gaps(n_lost):
    pages = stream()
    data = b"".join(pages[:2] + pages[2 + n_lost :])
    after = 3 + 3 * n_lost
    expected = [OPUS, *map(audio, range(3)), audio(after, gap=960 * (after - 3)), *map(audio, range(after + 1, 12))]
    assert found(data) == expected
    demuxer = OggDemuxer()
    demux(demuxer, [data])
    assert demuxer.n_pages_lost == n_lost


def test_a_damaged_page_is_a_lost_one():
    pages = stream()
    for at in range(len(pages[2])):
        damaged = bytearray(pages[2])
        damaged[at] ^= 0x10
        data = b"".join([*pages[:2], bytes(damaged), *pages[3:]])
        expected = [OPUS, *map(audio, range(3)), audio(6, gap=2880), *map(audio, range(7, 12))]
        assert found(data) == expected, at
        assert found(data, 50) == expected


def test_bytes_between_pages_and_pages_twice_are_skipped():
    pages = stream()
    data = b"".join(
        [pages[0], b"Og", pages[1], b"OggS" + bytes(40), pages[2], pages[2], pages[1], b"OggOggS\1", *pages[3:]]
    )
    assert found(data, 1) == [OPUS, *map(audio, range(12))]


def test_a_packet_whose_other_half_is_lost():
    whole = packet(1, 510)
    first = headers() + page([packet(0), whole[:255]], 960, 2, is_open=True)
    lost_end = first + page([packet(2)], 3 * 960, 3)  # not continued: the rest never came
    assert found(lost_end) == [OPUS, audio(0), audio(2, gap=960)]
    lost_begin = headers() + page([packet(0)], 960, 2) + page([whole[255:], packet(2)], 3 * 960, 4, CONTINUED)
    assert found(lost_begin) == [OPUS, audio(0), audio(2, gap=960)]


def test_small_jumps_of_the_granule_position_are_rounding():
    pages = [
        headers(),
        page([packet(0)], 960 + 30, 2),
        page([packet(1)], 1920 - 40, 3),
        page([packet(2)], 2880 + 500, 4),
    ]
    assert [event[4] for event in found(b"".join(pages))[1:]] == [0, 0, 0]
    pages.append(page([packet(3)], 2880 + 500 + 960 + 1000, 5))
    assert [event[4] for event in found(b"".join(pages))[1:]] == [0, 0, 0, 960]


def test_a_stream_that_began_before():
    data = headers() + page([packet(0), packet(1)], 48_000 * 3600, 900) + page([packet(2)], 48_000 * 3600 + 960, 901)
    events = found(data)
    assert events[-1] == ("broken", "a header of the Ogg stream is lost") or events[1][2] == 48_000 * 3600 - 1920
    data = headers() + page([packet(0), packet(1)], 48_000 * 3600, 2) + page([packet(2)], 48_000 * 3600 + 960, 3)
    assert found(data) == [OPUS, audio(0, 48_000 * 3600 - 1920), audio(1, 48_000 * 3600 - 960), audio(2, 48_000 * 3600)]


def test_packets_that_are_no_opus_become_a_gap():
    data = headers() + page([packet(0)], 960, 2) + page([b"", b"\x4b\x3f", packet(3)], 4 * 960, 3)
    assert found(data) == [OPUS, audio(0), audio(3, gap=1920)]


LONG = b"".join(page([bytes(255 * 255)], -1, 2 + k, CONTINUED * (k > 0), is_open=True) for k in range(17))
OTHERS = page([b"Speex   "], 0, 0, FIRST) + page([b"\x80theora"], 0, 0, FIRST, 8)
ERRORS = [
    (page([packet(0)], 960, 5), "broken", "does not begin with the first page"),
    (page([b"\1vorbis" + bytes(40)], 0, 0, FIRST) + page([b"x"], 0, 1), "unsupported", "an Ogg file with Vorbis"),
    (OTHERS + page([b"x"], 0, 1), "unsupported", "Speex, Theora"),
    (page([b"???"], 0, 0, FIRST) + page([b"x"], 0, 1), "unsupported", "an unknown codec"),
    (page([opus_head()], 0, 0, FIRST) + page([packet(0)], 960, 2), "broken", "a header of the Ogg stream is lost"),
    (headers() + bytes(MAX_SKIPPED_BYTES + 100), "broken", f"no valid Ogg page within {MAX_SKIPPED_BYTES} bytes"),
    (headers() + page([packet(0)], 960, 2) + page([packet(1)], 48_000 * 36_000, 3), "broken", "jumps by 35999 s"),
    (headers() + LONG, "limit", f"more than {MAX_PACKET_BYTES} bytes"),
]


@pytest.mark.parametrize(("data", "kind", "text"), ERRORS)
def test_errors(data, kind, text):
    for pieces in ([data], every(data, 999)):
        events = demux(OggDemuxer(), pieces)
        assert events[-1][0] == kind
        assert text in events[-1][1]


def test_where_a_stream_may_end():
    pages = stream(6)
    demuxer, ends = OggDemuxer(), []
    for at, byte in enumerate(data := b"".join(pages)):
        demux(demuxer, [bytes([byte])])
        if not demuxer.is_truncated:
            ends.append(at + 1)
    assert ends == [len(pages[0]), len(pages[0]) + len(pages[1]), len(data)]


def test_read_must_be_exhausted():
    demuxer = OggDemuxer()
    demuxer.feed(b"".join(stream()))
    assert demuxer.read() == OPUS
    with pytest.raises(ValueError, match="until it returns None"):
        demuxer.feed(b"")


def test_it_belongs_to_one_stream():
    for copied in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match="one stream"):
            copied(OggDemuxer())


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A valid stream whose packets span pages at random places."""
    packets = [packet(k, draw(st.integers(2, 1200))) for k in range(draw(st.integers(1, 12)))]
    data, sequence, flags, n_ended = headers(), 2, 0, 0
    parts: list[bytes] = []
    for index, whole in enumerate(packets):
        while len(whole) >= 255 and draw(st.booleans()):
            at = 255 * draw(st.integers(1, len(whole) // 255))
            data += page([*parts, whole[:at]], 960 * n_ended if n_ended else -1, sequence, flags, is_open=True)
            parts, whole, flags, sequence, = [], whole[at:], CONTINUED, sequence + 1  # fmt: skip
        parts.append(whole)
        n_ended = index + 1
        if draw(st.booleans()) or n_ended == len(packets):
            data += page(parts, 960 * n_ended, sequence, flags | LAST * (n_ended == len(packets)))
            parts, flags, sequence = [], 0, sequence + 1
        if draw(st.integers(0, 3)) == 0:
            data += page([b"other"], 5, 9, 0, 99)
    return data, packets


@given(streams(), st.lists(st.integers(0, 8000), max_size=20))
def test_cuts_change_nothing(made, places):
    data, packets = made
    events = demux(OggDemuxer(), cut(data, places))
    assert [event[1] for event in events[1:]] == packets
    assert [event[2:5] for event in events[1:]] == [(960 * k, 960, 0) for k in range(len(packets))]
    assert events == demux(OggDemuxer(), [data])


@given(streams(), st.integers(0, 2**32))
def test_damage_gives_packets_or_an_error(made, seed):
    rng = random.Random(seed)
    data = bytearray(made[0])
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    events = found(bytes(data))
    assert events == found(bytes(data), 3)
    for event in events:
        assert event[0] not in (PACKET,) or event[1] in made[1]  # the CRC lets nothing else through


def test_bytes_are_not_checked_again_and_again():
    """Heads of pages that overlap, each with 255 segments: a check of each would take seconds for a megabyte."""
    heads = (b"OggS\0" + b"\xc8" * 21 + b"\xff") * 3_000
    demuxer = OggDemuxer()
    assert demux(demuxer, [headers() + heads]) == [OPUS, ("broken", "too many Ogg pages with a wrong CRC")]


def test_damaged_pages_among_good_ones_are_no_attack():
    pages = [page([packet(index, 60_000)], 960 * (index + 1), index + 2) for index in range(60)]
    damaged = [data[:-1] + b"\0" if index % 10 else data for index, data in enumerate(pages)]
    assert found(headers() + b"".join(damaged))[-1][1] == packet(50, 60_000)
