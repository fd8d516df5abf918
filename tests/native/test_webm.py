"""WebM and Matroska: every packet is FFmpeg's, however the bytes are cut; gaps, trims and damage are reported."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.demuxing import MEDIA, cut, demux, every, ffmpeg_packets
from helpers.matroska import (
    BLOCK,
    CLUSTER,
    CRC,
    EBML_LACING,
    FIXED,
    GROUP,
    SEGMENT,
    SIMPLE_BLOCK,
    TRACKS,
    VOID,
    XIPH,
    block,
    cluster,
    element,
    group,
    head,
    identifier,
    number,
    opus_head,
    simple,
    track,
    unknown,
    vint,
)
from voxgate._native.webm import (
    HEAD,
    MAX_BLOCK_BYTES,
    MAX_PRIVATE_BYTES,
    MAX_SKIPPED_BYTES,
    MAX_TRACKS,
    PACKET,
    WebmDemuxer,
)

MS = 48
TOC_20_MS, TOC_60_MS, TOC_10_MS = b"\x48", b"\x58", b"\x40"  # of SILK, wideband
OPUS_HEAD = (HEAD, "opus", opus_head(), 0, 48_000.0, 1)


def packet(index: int, n_bytes: int = 40, toc: bytes = TOC_20_MS) -> bytes:
    return toc + bytes((index * 31 + place * 7) % 256 for place in range(n_bytes - 1))


def packets_of(data: bytes, n_bytes: int | None = None) -> list[tuple]:
    events = demux(WebmDemuxer(), [data] if n_bytes is None else every(data, n_bytes))
    assert [event[0] for event in events if event[0] not in (HEAD, PACKET)] == []
    return [event for event in events if event[0] == PACKET]


def error_of(data: bytes) -> tuple[str, str]:
    events = demux(WebmDemuxer(), [data])
    assert events == demux(WebmDemuxer(), every(data, 1))
    assert events[-1][0] in ("broken", "unsupported", "limit"), events
    return events[-1]


@pytest.mark.parametrize("name", sorted(path.name for path in MEDIA.glob("*.webm")))
def test_browsers_packets_are_those_of_ffmpeg(name):
    data = (MEDIA / name).read_bytes()
    ours, theirs = packets_of(data), ffmpeg_packets(data)
    assert [event[1] for event in ours] == [data for data, _ in theirs]
    begin_s = theirs[0][1] - ours[0][2] / 48_000
    assert [event[2] / 48_000 + begin_s for event in ours] == pytest.approx([time for _, time in theirs], abs=1e-3)
    assert {event[4:] for event in ours} == {(0, 0, 0)}
    assert ours == packets_of(data, 1) == packets_of(data, 7)


@pytest.mark.parametrize("lacing", [0, XIPH, FIXED, EBML_LACING])
@pytest.mark.parametrize("wrap", [simple, group])
@pytest.mark.parametrize("is_known", [True, False])
def test_all_lacings(lacing, wrap, is_known):
    sizes = [60] * 8 if lacing == FIXED else [254, 255, 256, 1, 510, 3, 700, 40]
    frames = [packet(index, size) for index, size in enumerate(sizes)]
    blocks = [wrap([frame], 20 * index) for index, frame in enumerate(frames)]
    if lacing:
        blocks = [wrap(frames[:2], 0, 1, lacing), wrap(frames[2:], 40, 1, lacing)]
    data = head() + cluster(0, *blocks, is_known=is_known)
    found = packets_of(data, 1)
    assert [event[1:4] for event in found] == [(frame, 960 * index, 960) for index, frame in enumerate(frames)]
    assert [event[1] for event in found] == [data for data, _ in ffmpeg_packets(data)]


def test_two_hundred_and_fifty_six_frames_in_a_block():
    frames = [packet(index, 5, b"\x80") for index in range(256)]  # of 2.5 ms
    for lacing in (XIPH, FIXED, EBML_LACING):
        found = packets_of(head() + cluster(0, simple(frames, 0, 1, lacing)))
        assert [event[1] for event in found] == frames
        assert [event[2] for event in found] == [120 * index for index in range(256)]


def test_void_crc_and_what_is_unknown_is_skipped_everywhere():
    noise = element(VOID, bytes(300)) + element(CRC, b"1234") + element(0x4DEF, b"?") + element(VOID, b"")
    tracks = element(TRACKS, noise + track(1, b"V_VP8", 1, b"") + noise + track(2) + noise)
    data = element(0x1A45DFA3, b"") + unknown(SEGMENT) + noise + tracks + noise
    frames = [packet(index) for index in range(6)]
    data += cluster(0, noise, simple(frames[:1], 0, 2), noise, simple([b"video"], 5, 1))
    data += cluster(20, simple(frames[1:2], 0, 2), element(GROUP, noise + element(BLOCK, block(frames[2:3], 20, 2))))
    data += element(0x1C53BB6B, bytes(20))  # Cues, which end the cluster
    data += cluster(60, simple(frames[3:4], 0, 2), element(0x1254C367, b"tags within"), is_known=True)
    data += element(0x1254C367, bytes(50)) + cluster(80, simple(frames[4:5], 0, 2), simple(frames[5:], 20, 2))
    assert [event[1:3] for event in packets_of(data, 1)] == [(frame, 960 * k) for k, frame in enumerate(frames)]


@pytest.mark.parametrize("scale_ns", [1_000_000, 100_000, 20_833, 1_000_000_000])
def test_the_unit_of_timestamps(scale_ns):
    unit = max(1, 20_000_000 // scale_ns)
    data = head(scale_ns=scale_ns) + cluster(5 * unit, simple([packet(0)]), simple([packet(1)], unit))
    assert [event[2] for event in packets_of(data)] == [
        round(5 * unit * scale_ns * 48 / 1e6), round(6 * unit * scale_ns * 48 / 1e6)
    ]  # fmt: skip


def test_times_before_the_cluster():
    data = head() + cluster(100, simple([packet(0)], -20), simple([packet(1)]))
    assert [event[2] for event in packets_of(data)] == [80 * MS, 100 * MS]


def test_lost_packets_are_gaps_of_whole_packets():
    for toc, length_ms in ((TOC_20_MS, 20), (TOC_60_MS, 60)):
        times = [0, 1, 2, 5, 6]  # 3 and 4 are missing
        blocks = [simple([packet(k, toc=toc)], round(k * length_ms) + (k == 5)) for k in times]  # a ms off
        assert [event[4] for event in packets_of(head() + cluster(0, *blocks))] == [0, 0, 0, 2 * length_ms * MS, 0]


def test_a_gap_of_any_length_is_rounded_to_what_opus_can_conceal():
    data = head() + cluster(0, simple([packet(0)]), simple([packet(1)], 20 + 51))
    assert [event[4] for event in packets_of(data)] == [0, 50 * MS]
    assert [event[4] for event in packets_of(head() + cluster(0, simple([packet(0)]), simple([packet(1)], 38)))] == [
        0,
        960,
    ]


def test_jitter_is_no_gap():
    times = [0, 25, 38, 61, 80, 97, 121, 140]
    blocks = [simple([packet(k)], time) for k, time in enumerate(times)]
    assert {event[4] for event in packets_of(head() + cluster(0, *blocks))} == {0}


def test_what_comes_too_early_is_not_made_up_for():
    times = [0, 20, 60, 40, 80]  # the third and fourth have changed places
    found = packets_of(head() + cluster(0, *(simple([packet(k)], time) for k, time in enumerate(times))))
    assert [event[4] for event in found] == [0, 0, 960, 0, 0]


def test_packets_that_are_no_opus_become_a_gap():
    frames = [packet(0), b"", b"\x4b\x3f", packet(3)]  # 63 frames of 20 ms are too many
    found = packets_of(head() + cluster(0, *(simple([frame], 20 * k) for k, frame in enumerate(frames))))
    assert [event[1:] for event in found] == [(frames[0], 0, 960, 0, 0, 0), (frames[3], 2880, 960, 1920, 0, 0)]


def test_discard_padding():
    data = head() + cluster(
        0, group([packet(0)], 0, discard_ns=-5_000_000), group([packet(1)], 20, discard_ns=13_500_000)
    )
    assert [event[5:] for event in packets_of(data, 1)] == [(240, 0), (0, 648)]
    laced = head() + cluster(0, group([packet(k) for k in range(3)], 0, 1, XIPH, discard_ns=25_000_000))
    assert [event[5:] for event in packets_of(laced)] == [(0, 0), (0, 240), (0, 960)]
    most = head() + cluster(0, group([packet(0)], 0, discard_ns=2**62))
    assert [event[5:] for event in packets_of(most)] == [(0, 960)]


def test_the_first_opus_track_is_chosen():
    flac = b"fLaC" + bytes(38)
    tracks = [track(1, b"A_VORBIS"), track(2, b"A_FLAC", private=flac), track(3), track(4, private=opus_head(2))]
    events = demux(WebmDemuxer(), [head(*tracks) + cluster(0, *(simple([packet(k)], 0, k) for k in range(1, 5)))])
    assert events == [OPUS_HEAD, (PACKET, packet(3), 0, 960, 0, 0, 0)]
    events = demux(WebmDemuxer(), [head(*tracks[:2]) + cluster(7, simple([b"frame"], 0, 2), simple([b""], 1, 2))])
    assert events == [(HEAD, "flac", flac, 0, 48_000.0, 1), (PACKET, b"frame", 7 * MS, 0, 0, 0, 0)]


def test_the_head_has_delay_rate_and_channels():
    audio = element(0xE1, element(0xB5, b"\x46\x3b\x80\x00") + number(0x9F, 2))  # a float of 4 bytes: 12000
    data = head(track(9, private=b"private", extra=number(0x56AA, 6_500_000) + audio))
    assert demux(WebmDemuxer(), [data]) == [(HEAD, "opus", b"private", 6_500_000, 12_000.0, 2)]


def test_another_stream_behind_the_first():
    one = head() + cluster(0, simple([packet(0)]))
    two = head(track(5, private=opus_head(2))) + cluster(9000, simple([packet(1)], 0, 5))
    assert demux(WebmDemuxer(), every(one + two, 3)) == [
        OPUS_HEAD, (PACKET, packet(0), 0, 960, 0, 0, 0),
        (HEAD, "opus", opus_head(2), 0, 48_000.0, 1), (PACKET, packet(1), 9000 * MS, 960, 0, 0, 0),
    ]  # fmt: skip


def test_files_of_ffmpeg():
    """Known sizes, seek heads, cues, tags: what FFmpeg writes to a file that it can seek in."""
    import av
    import numpy as np

    for name, codec in (("matroska", "libopus"), ("webm", "libopus"), ("matroska", "flac")):
        file = io.BytesIO()
        with av.open(file, "w", format=name) as out:
            video = out.add_stream("mpeg4" if name == "matroska" else "libvpx", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            stream = out.add_stream(codec, rate=48_000, layout="mono")
            for index in range(30):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * index, np.uint8), "rgb24")
                out.mux(video.encode(picture))
                noise = np.random.default_rng(index).integers(-3000, 3000, (1, 4800), np.int16)
                frame = av.AudioFrame.from_ndarray(noise, "s16", "mono")
                frame.sample_rate, frame.pts = 48_000, 4800 * index
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
            out.mux(video.encode(None))
        data = file.getvalue()
        assert [event[1] for event in packets_of(data, 1000)] == [data for data, _ in ffmpeg_packets(data)]
        assert len(packets_of(data)) > 20


ERRORS = [
    (b"RIFF....", "broken", "does not begin with an EBML head"),
    (b"\0" * 8, "broken", "no EBML element at byte 0"),
    (element(0x1A45DFA3, b"") + b"\x08\x80", "broken", "no EBML element at byte 5"),
    (b"\x1a\x45\xdf\xa3\0", "broken", "the size of the element at byte 0 is invalid"),
    (element(0x1A45DFA3, b"") + unknown(TRACKS), "broken", "1654AE6B at byte 5 has no size"),
    (element(0x1A45DFA3, b"") + unknown(SEGMENT) + cluster(0), "broken", "audio before its list of tracks"),
    (head(track(1, b"A_VORBIS"), track(2, b"V_VP8", 1)), "unsupported", "file with A_VORBIS, V_VP8"),
    (head(element(VOID, b"")), "unsupported", "with no tracks"),
    (head(track(1, extra=element(0x6D80, b"x"))), "unsupported", "A_OPUS (compressed or encrypted)"),
    (head(*[track(k) for k in range(1, MAX_TRACKS + 2)]), "limit", f"more than {MAX_TRACKS} tracks"),
    (
        head() + element(CLUSTER, element(GROUP, b"")[:-1] + b"\x85")[:-1] + b"\x85",
        "broken",
        "longer than what contains it",
    ),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\0abc")), "broken", "has no track"),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\x81\0")), "broken", "a block of 2 bytes"),
    (
        head() + cluster(0, element(GROUP, element(BLOCK, block([packet(0)])) * 2)),
        "broken",
        "a second block in the group",
    ),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\x81\0\0\x02")), "broken", "without frames"),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\x81\0\0\x02\1\xff\xff")), "broken", "lacing"),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\x81\0\0\x02\1\x09123")), "broken", "lacing"),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\x81\0\0\x04\1123")), "broken", "lacing"),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\x81\0\0\x06\1\x40")), "broken", "lacing"),
    (head() + cluster(0, element(SIMPLE_BLOCK, b"\x81\0\0\x06\2\x81\x80123")), "broken", "lacing"),
    (head() + cluster(0, number(0xE7, 2**63)) + cluster(2**63, simple([packet(0)])), "broken", "out of range"),
    (head(scale_ns=2_000_000_000), "broken", "2000000000 ns"),
    (head() + cluster(0, element(0xE7, bytes(9))), "broken", "has 9 bytes"),
    (head() + identifier(0x1254C367) + vint(MAX_SKIPPED_BYTES + 1, 8), "limit", f"has {MAX_SKIPPED_BYTES + 1} bytes"),
    (head() + unknown(CLUSTER) + b"\xa3" + vint(MAX_BLOCK_BYTES + 9, 8) + b"\x81", "limit", "a block of"),
    (head() + unknown(CLUSTER) + b"\xa3" + vint(MAX_SKIPPED_BYTES + 9, 8) + b"\x82", "limit", "a block of"),
    (
        head() + cluster(0, simple([packet(0)])) + cluster(36_000_000, simple([packet(1)])),
        "broken",
        "jumps by 35999.980 s",
    ),
    (head() + cluster(5000, simple([packet(0)])) + cluster(0, simple([packet(1)])), "broken", "jumps by -5.020 s"),
]


@pytest.mark.parametrize(("data", "kind", "text"), ERRORS)
def test_errors(data, kind, text):
    found = error_of(data)
    assert found[0] == kind
    assert text in found[1]


def test_what_was_before_an_error_is_returned_first():
    data = head() + cluster(0, simple([packet(0), packet(1)], 0, 1, XIPH)) + b"\0" * 50
    events = demux(WebmDemuxer(), [data])
    assert [event[0] for event in events] == [HEAD, PACKET, PACKET, "broken"]


def test_a_private_part_that_is_too_long_is_left_out():
    data = head(track(private=bytes(MAX_PRIVATE_BYTES + 1))) + cluster(0, simple([packet(0)]))
    assert demux(WebmDemuxer(), [data])[0] == (HEAD, "opus", b"", 0, 48_000.0, 1)


def test_where_a_stream_may_end():
    data = head() + cluster(0, simple([packet(0)]), group([packet(1)], 20)) + cluster(40, simple([packet(2)]))
    ends = []
    demuxer = WebmDemuxer()
    for at in range(len(data)):
        demux(demuxer, [data[at : at + 1]])
        if not demuxer.is_truncated:
            ends.append(at + 1)
    n_block = len(simple([packet(2)]))
    assert ends[-2:] == [len(data) - n_block, len(data)]
    assert ends[0] == len(head())
    whole = head(segment=b"")[: -0 or None]
    known = element(0x1A45DFA3, element(0x4282, b"webm"))
    body = whole[len(known) :] + cluster(0, simple([packet(0)]), is_known=True)
    demuxer = WebmDemuxer()
    demux(demuxer, [known + element(SEGMENT, body + element(VOID, b"12"))[:-1]])
    assert demuxer.is_truncated
    demux(demuxer, [b"2"])
    assert not demuxer.is_truncated


def test_the_block_of_a_group_that_breaks_off_is_owed():
    start = head() + unknown(CLUSTER) + number(0xE7, 0)
    inside = element(BLOCK, block([packet(0)])) + element(VOID, b"12")
    for cut_bytes, n_frames in ((0, 1), (1, 1), (4, 1), (5, 0)):
        data = start + identifier(GROUP) + vint(len(inside) + 9) + inside[: len(inside) - cut_bytes]
        demuxer = WebmDemuxer()
        assert len(demux(demuxer, [data], is_all=True)) == 1 + n_frames
        assert demuxer.is_truncated


def test_read_must_be_exhausted():
    demuxer = WebmDemuxer()
    demuxer.feed(head() + cluster(0, simple([packet(0)])))
    with pytest.raises(ValueError, match="until it returns None"):
        demuxer.feed(b"")
    assert demuxer.read() == OPUS_HEAD


def test_it_belongs_to_one_stream():
    for copied in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match="one stream"):
            copied(WebmDemuxer())


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A valid stream of random features, and the frames of track 2."""
    n_before = draw(st.integers(0, 1))
    data = head(*[track(1, b"V_VP8", 1, b"")] * n_before, track(2))
    frames, time = [], 0
    for _ in range(draw(st.integers(1, 4))):
        children = []
        begin = time
        for _ in range(draw(st.integers(0, 4))):
            lacing = draw(st.sampled_from([0, XIPH, FIXED, EBML_LACING]))
            n = draw(st.integers(1, 5)) if lacing else 1
            size = draw(st.integers(2, 600))
            new = [packet(len(frames) + k, size if lacing == FIXED else draw(st.integers(2, 600))) for k in range(n)]
            children.append(draw(st.sampled_from([simple, group]))(new, time - begin, 2, lacing))
            frames += new
            time += 20 * n
            if draw(st.booleans()):
                children.append(draw(st.sampled_from([element(VOID, b"123"), simple([b"other"], 0, 1)])))
        data += cluster(begin, *children, is_known=draw(st.booleans()))
    return data, frames


@given(streams(), st.lists(st.integers(0, 5000), max_size=20))
def test_cuts_change_nothing(stream, places):
    data, frames = stream
    events = demux(WebmDemuxer(), cut(data, places))
    assert [event[1] for event in events[1:]] == frames
    assert [event[2] for event in events[1:]] == [960 * index for index in range(len(frames))]
    assert events == demux(WebmDemuxer(), [data])


@given(streams(), st.data())
def test_damage_gives_packets_or_an_error(stream, choose):
    data = bytearray(stream[0])
    for _ in range(choose.draw(st.integers(1, 4))):
        data[choose.draw(st.integers(0, len(data) - 1))] ^= 1 << choose.draw(st.integers(0, 7))
    events = demux(WebmDemuxer(), [bytes(data)])
    assert events == demux(WebmDemuxer(), every(bytes(data), 3))
    assert sum(len(event[1]) for event in events if event[0] == PACKET) <= len(data)
