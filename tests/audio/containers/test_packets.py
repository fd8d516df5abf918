"""What WebM and Ogg containers have in common: exact lengths, pieces, damage, memory."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import matroska, ogg_pages
from helpers.demuxing import MEDIA, RECORDINGS, cut, decode, every, slices
from helpers.matroska import cluster, element, group, number, opus_head, simple, track
from helpers.media import RATE, SPEECH, lag_samples, live_speech, speech
from voxgate.audio.containers.base import BrokenMedia, MediaError, TruncatedMedia, UnsupportedMedia
from voxgate.audio.containers.ogg import OggContainer
from voxgate.audio.containers.packets import PacketContainer
from voxgate.audio.containers.webm import WebmContainer
from voxgate.protocol.formats import AudioFormat

CONTAINERS = {"webm": WebmContainer, "ogg": OggContainer}
MUSIC_120_MS = b"\xff\x06"  # six frames of 20 ms without a byte


def samples(container: PacketContainer, pcm: bytes) -> np.ndarray:
    assert container.format is not None
    return np.frombuffer(pcm, np.float32).reshape(-1, container.format.channels)


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_recordings_of_browsers(name):
    """As the page sends them; the speech is where it was, but for a constant offset."""
    container = CONTAINERS[name.split(".")[1]](RATE)
    pcm, error = decode(container, slices(name))
    assert error is None
    heard = samples(container, pcm).mean(axis=1)
    said = SPEECH[0, : 6 * RATE]
    offset = lag_samples(heard, said)
    # Firefox is fed by Web Audio from the first sample on; Chromium's microphone plays before it records.
    assert offset == 0 if "firefox" in name else -16 * 20 <= offset <= 16 * 20
    begin, aligned = max(0, -offset), heard[max(0, offset) :]
    for second in range(1, 5):  # no drift
        part = slice(second * RATE, (second + 1) * RATE)
        assert abs(lag_samples(aligned[part], said[begin:][part])) <= 1
    n = min(len(aligned), len(said) - begin)
    gain = aligned[:n] @ said[begin:][:n] / (said[begin:][:n] @ said[begin:][:n])
    difference = aligned[:n] - gain * said[begin:][:n]
    assert 10 * np.log10(np.sum((gain * said[begin:][:n]) ** 2) / np.sum(difference**2)) > 12
    assert decode(CONTAINERS[name.split(".")[1]](RATE), every((MEDIA / name).read_bytes(), 1)) == (pcm, None)


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("make", [speech, live_speech])
def test_files_of_ffmpeg_are_exact(name, make):
    container = CONTAINERS[name](RATE)
    pcm, error = decode(container, [make(name)])
    assert error is None
    heard = samples(container, pcm)[:, 0]
    assert container.format == AudioFormat(1, RATE, 32, True)
    assert len(heard) == 2 * RATE
    said = SPEECH[0, : 2 * RATE]
    assert lag_samples(heard, said) == 0
    assert 10 * np.log10(np.sum(said**2) / np.sum((heard - said) ** 2)) > 12


@settings(max_examples=30)
@given(st.sampled_from(sorted(CONTAINERS)), st.lists(st.integers(0, 20_000), max_size=30))
def test_cuts_change_nothing(name, places):
    data = live_speech(name, 1.0)
    assert decode(CONTAINERS[name](RATE), cut(data, places)) == decode(CONTAINERS[name](RATE), [data])


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_stream_that_breaks_off_gives_what_it_had(name):
    data = speech(name)
    whole, _ = decode(CONTAINERS[name](RATE), [data])
    for n_bytes in (0, 3, 40, len(data) // 2, len(data) - 1):
        pcm, error = decode(CONTAINERS[name](RATE), [data[:n_bytes]])
        assert isinstance(error, TruncatedMedia)
        assert whole.startswith(pcm)


def test_pieces_are_at_most_a_second():
    data = matroska.head() + cluster(0, *(simple([MUSIC_120_MS], 120 * k) for k in range(100)))
    container = WebmContainer(RATE)
    pieces = list(container.push(data))
    assert sum(map(len, pieces)) == (12 * RATE - 104) * 4
    assert {len(piece) for piece in pieces[:-1]} == {RATE * 4}


def test_gaps_have_their_length():
    blocks = [simple([MUSIC_120_MS], 0), simple([MUSIC_120_MS], 120 + 2400), simple([MUSIC_120_MS], 240 + 2400)]
    container = WebmContainer(RATE)
    pcm, error = decode(container, [matroska.head() + cluster(0, *blocks)])
    assert error is None
    assert len(pcm) // 4 == (120 * 3 + 2400) * 16 - 104


def test_both_ends_are_trimmed():
    ends = [group([MUSIC_120_MS], 0, discard_ns=-10_000_000), group([MUSIC_120_MS], 120, discard_ns=50_000_000)]
    pcm, _ = decode(WebmContainer(48_000), [matroska.head(track(private=opus_head(1, 0))) + cluster(0, *ends)])
    assert len(pcm) // 4 == (120 - 10 + 120 - 50) * 48


def test_codec_delay_counts_without_a_pre_skip():
    delay = matroska.number(0x56AA, 6_500_000)
    for private, expected in ((opus_head(1, 0), 312), (opus_head(1, 480), 480), (b"", 312)):
        data = matroska.head(track(private=private, extra=delay)) + cluster(0, simple([MUSIC_120_MS]))
        pcm, _ = decode(WebmContainer(48_000), [data])
        assert len(pcm) // 4 == 5760 - expected


def test_chained_streams_with_another_format_are_refused():
    one = ogg_pages.headers() + ogg_pages.page([MUSIC_120_MS], 5760, 2, ogg_pages.LAST)
    two = ogg_pages.headers(8, 2) + ogg_pages.page([MUSIC_120_MS], 5760, 2, ogg_pages.LAST, 8)
    pcm, error = decode(OggContainer(48_000), [one + one + two])
    assert len(pcm) // 4 == 2 * (5760 - 312)
    assert isinstance(error, UnsupportedMedia)
    assert str(error) == "the Ogg stream changes from 1 channel at 48000 Hz to 2 channels at 48000 Hz"


@pytest.mark.parametrize(
    ("container", "data", "error", "text"),
    [
        (WebmContainer, matroska.head(track(codec=b"A_VORBIS")), UnsupportedMedia, "A_VORBIS"),
        (WebmContainer, matroska.head(track(private=b"OpusHead")), BrokenMedia, "head of the Opus stream"),
        (
            WebmContainer,
            matroska.head(track(private=b"", extra=matroska.element(0xE1, b"\x9f\x81\6"))),
            MediaError,
            "got 6",
        ),
        (
            OggContainer,
            ogg_pages.page([b"\1vorbis"], 0, 0, 2) + ogg_pages.page([b"x"], 0, 1),
            UnsupportedMedia,
            "Vorbis",
        ),
    ],
)
def test_errors_before_any_audio(container, data, error, text):
    opened = container(RATE)
    pcm, found = decode(opened, [data])
    assert pcm == b""
    assert opened.format is None
    assert isinstance(found, error)
    assert text in str(found)


def damaged(data: bytes, rng: random.Random) -> bytes:
    kind = rng.choice(["flip", "cut", "drop", "double", "swap", "noise"])
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    if kind == "flip":
        changed = bytearray(data)
        for _ in range(rng.randint(1, 20)):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == "cut":
        return data[:a]
    if kind == "drop":
        return data[:a] + data[b:]
    if kind == "double":
        return data[:b] + data[a:]
    if kind == "swap":
        middle = (a + b) // 2
        return data[:a] + data[middle:b] + data[a:middle] + data[b:]
    return data[:a] + rng.randbytes(b - a) + data[b:]


@pytest.mark.parametrize("name", ["firefox-100ms.ogg", "firefox-100ms.webm", "chromium-100ms.webm"])
def test_damaged_files_give_audio_or_an_error(name):
    """As long as the file was, or shorter; gaps that damage makes are bounded; memory is flat."""
    data, rng = (MEDIA / name).read_bytes(), random.Random(name)
    make = CONTAINERS[name.split(".")[1]]
    whole, _ = decode(make(RATE), [data])
    for _ in range(60):
        pieces = every(damaged(data, rng), 1000)
        pcm, error = decode(make(RATE), pieces)
        assert (
            error is None
            or type(error) in (BrokenMedia, TruncatedMedia, UnsupportedMedia)
            or error.code == "media_limit"
        )
        n_channels = 2 if "chromium" in name else 1
        assert len(pcm) <= 2 * len(whole) + 4 * n_channels * RATE * 120
        assert len(pcm) % (4 * n_channels) == 0


@pytest.mark.parametrize(
    ("container", "head", "part"),
    [
        (WebmContainer, matroska.head(), cluster(0, *[simple([MUSIC_120_MS], 120 * k) for k in range(250)])),
        (WebmContainer, matroska.head(), cluster(0, simple([MUSIC_120_MS] * 256, 0, 1, matroska.XIPH))),
        (OggContainer, ogg_pages.headers(), ogg_pages.page([MUSIC_120_MS] * 250, -1, 2)),
    ],
)
def test_decompression_bombs_are_decoded_piece_by_piece(container, head, part):
    """A few bytes are minutes of audio: the decoder decodes on demand, and keeps nothing."""
    opened = container(48_000)
    pieces = opened.push(head + part * (1 if container is OggContainer else 20))
    next(pieces)
    tracemalloc.start()
    try:
        for _, piece in zip(range(20), pieces, strict=False):
            assert len(piece) <= 48_000 * 4
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2**20
    opened.close()
    pieces.close()


def links(n_links: int) -> bytes:
    return ogg_pages.headers() * n_links


def tracks_again(n_times: int) -> bytes:
    return matroska.head() * n_times


@pytest.mark.parametrize(("name", "data"), [("ogg", links(20)), ("webm", tracks_again(20))])
def test_others_run_between_streams_without_audio(name, data):
    """To open a decoder takes up to a millisecond, and a message has room for thousands of heads."""
    assert list(CONTAINERS[name](RATE).push(data)) == [b""] * 19


def test_others_run_between_packets_of_which_nothing_is_heard():
    blocks = [group([MUSIC_120_MS], 120 * k, discard_ns=120_000_000) for k in range(10)]
    assert list(WebmContainer(RATE).push(matroska.head() + cluster(0, *blocks))) == [b""] * 10


VOID = element(0xEC, b"")
TRIMMED = group([MUSIC_120_MS], 0, discard_ns=120_000_000)


@pytest.mark.parametrize(
    ("name", "head", "part", "n_parts"),
    [
        ("webm", matroska.head(), cluster(0, VOID * 20), 21),
        ("webm", matroska.head(), cluster(0, TRIMMED), 105),  # cluster, time, group, block, discard, packet
        ("webm", b"", matroska.head(), 100),
        ("webm", matroska.head(), cluster(0, simple([b""] * 200, lacing=matroska.XIPH)), 200),
        ("ogg", b"", ogg_pages.headers(), 100),
        ("ogg", ogg_pages.headers(), ogg_pages.page([], -1, 2, serial=9), 1),
        ("ogg", ogg_pages.headers(), ogg_pages.page([bytes(60_000)], -1, 2, serial=9), 59),
    ],
    ids=["elements", "silent packets", "tracks again", "empty packets", "links", "pages of others", "long pages"],
)
def test_work_that_gives_no_audio_is_bounded(name, head, part, n_parts):
    """Whatever a stream consists of, a bounded number of it comes before an error; however the bytes are cut."""
    n_times = 10 * 1000 // n_parts
    few, many = head + part * (n_times * 8 // 10), head + part * (n_times * 2 + 10)
    for pieces in ([few], every(few, 1000)):
        _, error = decode(CONTAINERS[name](RATE, parts_per_s=1000), pieces)
        assert error is None or error.code != "media_limit", error
    for pieces in ([many], every(many, 1000)):
        pcm, error = decode(CONTAINERS[name](RATE, parts_per_s=1000), pieces)
        assert (pcm, error.code) == (b"", "media_limit")
        assert str(error) == "more than 1000 parts for each second of audio (media.parts_per_s)"


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_real_recordings_are_far_from_the_bound(name):
    make, data = CONTAINERS[name.split(".")[1]], (MEDIA / name).read_bytes()
    assert decode(make(RATE, parts_per_s=150), [data])[1] is None


def test_audio_makes_room_for_more_parts():
    part = cluster(0, *(simple([MUSIC_120_MS], 120 * k) + VOID * 100 for k in range(100)))
    assert decode(WebmContainer(RATE, parts_per_s=1000), [matroska.head() + part])[1] is None
    data = matroska.head() + part
    ends = [decode(WebmContainer(RATE, 300), pieces) for pieces in ([data], every(data, 100))]
    assert ends[0][0] == ends[1][0]
    assert {(error.code, str(error)) for _, error in ends} == {
        ("media_limit", "more than 300 parts for each second of audio (media.parts_per_s)")
    }
    # Packets of 120 ms with 102 elements and packets each: t seconds have 102 / 0.12 * t, and may have 300 * (10 + t).
    assert len(ends[0][0]) / 4 / RATE == pytest.approx(3000 / (102 / 0.12 - 300), abs=0.24)


@pytest.mark.parametrize("channels", [0, 3])
def test_opus_without_a_head_has_one_or_two_channels(channels):
    entry = track(private=b"", extra=element(0xE1, number(0x9F, channels)))
    _, error = decode(WebmContainer(RATE), [matroska.head(entry)])
    assert isinstance(error, BrokenMedia)
    assert str(error) == f"Opus without a head has 1 or 2 channels, got {channels}"
