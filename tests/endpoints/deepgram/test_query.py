"""The query of ``/v1/listen``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.deepgram.query import Listen, parse_listen
from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start, VadOptions

RAW = b"encoding=linear16&sample_rate=16000"


def parse(query: bytes) -> Listen:
    return parse_listen(query, min_silence_ms=300)


def test_the_least_that_a_client_sends():
    start = Start(AudioFormat(1, 16_000, 16, False), notices=True)
    assert parse(RAW) == Listen(start, True, False, None)


@pytest.mark.parametrize(
    ("encoding", "audio_format"),
    [
        (b"linear16", AudioFormat(1, 8000, 16, False)),
        (b"linear32", AudioFormat(1, 8000, 32, True)),
        (b"mulaw", AudioFormat(1, 8000, 8, False, "mulaw")),
        (b"alaw", AudioFormat(1, 8000, 8, False, "alaw")),
    ],
)
def test_encodings(encoding, audio_format):
    assert parse(b"sample_rate=8000&encoding=" + encoding).start.format == audio_format


@pytest.mark.parametrize("query", [b"", b"model=nova-3", b"encoding=flac", b"encoding=ogg-opus&sample_rate=48000"])
def test_containers_say_what_they_are(query):
    assert parse(query).start.format == ContainerFormat("auto")


def test_what_pipecat_and_livekit_ask_for():
    listen = parse(
        RAW + b"&model=nova-3-general&language=en&channels=1&multichannel=false&interim_results=true&punctuate=true"
        b"&endpointing=25&utterance_end_ms=1000&vad_events=True&filler_words=true&keyterm=a&keyterm=b&mip_opt_out=false"
        b"&redact=false&nobody_knows=this"
    )
    assert listen.start.interim_results
    assert listen.start.vad == VadOptions(silence_duration_ms=300)
    assert (listen.ends_speech, listen.speech_started, listen.utterance_end_s) == (True, True, 1.0)


@pytest.mark.parametrize(
    ("value", "silence_ms", "ends_speech"),
    [
        ("false", None, False),
        ("true", None, True),
        ("0", 300, True),
        ("300", 300, True),
        ("1500", 1500, True),
        ("999999999", 10_000, True),
    ],
)
def test_endpointing(value, silence_ms, ends_speech):
    listen = parse(RAW + f"&endpointing={value}".encode())
    assert listen.start.vad == (None if silence_ms is None else VadOptions(silence_duration_ms=silence_ms))
    assert listen.ends_speech is ends_speech


def test_channels_have_their_own_results():
    assert parse(RAW + b"&channels=2&multichannel=true").start.format.channels == 2
    with pytest.raises(InvalidStart, match="channels=2 needs multichannel=true"):
        parse(RAW + b"&channels=2")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"encoding=linear16", "sample_rate: expected a number of Hz with encoding, got nothing"),
        (b"encoding=speex&sample_rate=48000", "encoding speex is not supported as raw packets"),
        (b"encoding=opus&sample_rate=48000", "encoding opus is not supported as raw packets"),
        (b"encoding=mp9&sample_rate=48000", 'encoding: expected one of linear16, linear32, mulaw, alaw, got "mp9"'),
        (RAW + b"&callback=http://127.0.0.1/", "callback is not supported: the server fetches nothing"),
        (RAW + b"&redact=pci", "redact is not supported: this server removes nothing"),
        (RAW + b"&utterance_end_ms=soon", 'utterance_end_ms: expected a whole number, got "soon"'),
        (RAW + b"&endpointing=-1", 'endpointing: expected a whole number, got "-1"'),
    ],
)
def test_queries_that_cannot_be_served(query, text):
    with pytest.raises(InvalidStart, match=text):
        parse(query)


names = st.sampled_from(["encoding", "sample_rate", "channels", "multichannel", "endpointing", "utterance_end_ms", "x"])
values = st.sampled_from(["linear16", "mulaw", "16000", "0", "true", "false", "-1", "1e9", "", "9" * 40])


@given(st.lists(st.tuples(names, values)))
def test_any_query_is_read_or_refused(pairs):
    try:
        listen = parse("&".join(f"{name}={value}" for name, value in pairs).encode())
    except InvalidStart:
        return
    assert isinstance(listen.start.format, AudioFormat | ContainerFormat)
    if listen.start.vad is not None:
        assert 300 <= listen.start.vad.silence_duration_ms <= 10_000
