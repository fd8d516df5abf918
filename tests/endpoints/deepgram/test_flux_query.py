"""The query of ``/v2/listen``, and `Configure` messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.deepgram.flux_query import Flux, NotConfigurable, Silence, Thresholds, parse_flux
from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start, TurnOptions, VadOptions

RAW = b"model=flux-general-en&encoding=linear16&sample_rate=16000"
SILENCE = Silence(usual_ms=600, shortest_ms=300)
SCHEMA = {"properties": {"hotwords": {"type": "array"}, "language": {"type": "string"}}}


def parse(query: bytes, schema=None, silence=SILENCE) -> Flux:
    return parse_flux(query, silence=silence, options_schema=schema)


def test_the_least_that_a_client_sends():
    flux = parse(RAW)
    assert flux.thresholds == Thresholds(0.7, None, 5000)
    assert flux.start == Start(
        AudioFormat(1, 16_000, 16, False),
        interim_results=True,
        vad=VadOptions(silence_duration_ms=600),
        notices=True,
        eager=True,
    )


def test_what_pipecat_asks_for():
    flux = parse(
        b"model=flux-general-en&sample_rate=16000&encoding=linear16&eager_eot_threshold=0.5&eot_threshold=0.8"
        b"&eot_timeout_ms=3000&numerals=true&profanity_filter=false&mip_opt_out=false&keyterm=a+b&keyterm=c&tag=x",
        SCHEMA,
    )
    assert flux.thresholds == Thresholds(0.8, 0.5, 3000)
    assert (flux.keyterms, flux.options) == (("a b", "c"), {"hotwords": ["a b", "c"]})


def test_options_of_the_model():
    assert parse(RAW + b"&language=de", SCHEMA).options == {"language": "de"}


def test_a_container_is_mixed_to_one_channel():
    assert parse(b"model=flux-general-en").start.format == ContainerFormat("auto", mono=True)


@pytest.mark.parametrize(
    ("thresholds", "silence_ms", "trigger", "confidence"),
    [
        (Thresholds(), 600, "model", 0.7),
        (Thresholds(0.5), 429, "model", 0.5),
        (Thresholds(0.9), 771, "model", 0.9),
        (Thresholds(1.0), 5000, "timeout", 1.0),
        (Thresholds(1.0, eot_timeout_ms=60_000), 10_000, "timeout", 1.0),
        (Thresholds(0.9, eot_timeout_ms=500), 500, "timeout", 0.583),
    ],
)
def test_thresholds_are_silence(thresholds, silence_ms, trigger, confidence):
    assert SILENCE.of(thresholds) == silence_ms
    assert SILENCE.trigger(thresholds) == trigger
    assert SILENCE.confidence(thresholds) == pytest.approx(confidence, abs=0.001)


def test_the_shortest_silence_of_the_server():
    silence = Silence(usual_ms=600, shortest_ms=600)
    assert silence.of(Thresholds(0.5)) == 600
    assert silence.confidence(Thresholds(0.5)) == pytest.approx(0.7)
    assert (silence.of(Thresholds(1.0, eot_timeout_ms=500)), silence.trigger(Thresholds(1.0))) == (600, "timeout")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"&eot_threshold=0.4", "eot_threshold: expected a number between 0.5 and 1, got 0.4"),
        (b"&eot_threshold=nan", "eot_threshold: expected a number between 0.5 and 1, got nan"),
        (b"&eot_threshold=high", 'eot_threshold: expected a number, got "high"'),
        (b"&eot_threshold=1_0", 'eot_threshold: expected a number, got "1_0"'),
        (b"&eager_eot_threshold=0.95", "eager_eot_threshold: expected a number between 0.3 and 0.9, got 0.95"),
        (b"&eager_eot_threshold=0.8", r"eager_eot_threshold: expected at most eot_threshold \(0.7\), got 0.8"),
        (b"&eot_timeout_ms=100", "eot_timeout_ms: expected a number between 500 and 60000, got 100"),
        (b"&eot_timeout_ms=1e3", 'eot_timeout_ms: expected a whole number, got "1e3"'),
        (b"&redact=numbers", "redact is not supported"),
        (b"&callback=http://x", "callback is not supported"),
        (b"&encoding=opus", "encoding opus is not supported as raw packets"),
        (b"&encoding=mp9", "encoding: expected one of linear16, linear32, mulaw, alaw"),
    ],
)
def test_queries_that_cannot_be_served(query, text):
    with pytest.raises(InvalidStart, match=text):
        parse(RAW + query)


def test_configure_changes_what_it_names():
    flux = parse(RAW + b"&eager_eot_threshold=0.5", SCHEMA)
    assert flux.configured({}) == flux
    changed = flux.configured({"thresholds": {"eot_threshold": 1, "eot_timeout_ms": 2000}})
    assert changed.thresholds == Thresholds(1.0, 0.5, 2000)
    assert changed.start.vad == VadOptions(silence_duration_ms=2000)
    assert changed.configured({"thresholds": {"eager_eot_threshold": None}}).thresholds == Thresholds(1.0, None, 2000)
    named = flux.configured({"keyterms": ["a"], "language_hints": ["de"]})
    assert (named.keyterms, named.language_hints, named.options) == (("a",), ("de",), {"hotwords": ["a"]})
    assert named.configured({"keyterms": []}).options is None
    assert named.configured({"keyterms": "b"}).options == {"hotwords": ["b"]}


def test_eager_ends_need_no_other_session():
    flux = parse(RAW)
    assert flux.configured({"thresholds": {"eager_eot_threshold": 0.4}}).start == flux.start


@pytest.mark.parametrize(
    ("message", "reason", "text"),
    [
        ({"thresholds": 1}, "CONFIGURE_INVALID", "thresholds: expected an object, got 1"),
        (
            {"thresholds": {"eot_threshold": "0.7"}},
            "CONFIGURE_INVALID",
            'thresholds.eot_threshold: expected a number, got "0.7"',
        ),
        (
            {"thresholds": {"eot_threshold": True}},
            "CONFIGURE_INVALID",
            "thresholds.eot_threshold: expected a number, got true",
        ),
        (
            {"thresholds": {"eot_timeout_ms": 1.5}},
            "CONFIGURE_INVALID",
            "thresholds.eot_timeout_ms: expected a number, got 1.5",
        ),
        (
            {"thresholds": {"eager_eot_threshold": 0.8}},
            "CONFIGURE_INVALID",
            r"thresholds.eager_eot_threshold: expected at most eot_threshold \(0.7\), got 0.8",
        ),
        ({"keyterms": [1]}, "CONFIGURE_INVALID", r"keyterms: expected a list of texts, got \[1\]"),
        ({"keyterms": ["a"]}, "CONFIGURE_KEYTERMS_NOT_SUPPORTED", "keyterms: the model takes none"),
    ],
)
def test_configures_that_cannot_be_carried_out(message, reason, text):
    with pytest.raises(NotConfigurable, match=text) as caught:
        parse(RAW).configured(message)
    assert caught.value.reason == reason


def test_a_container_cannot_begin_again():
    flux = parse(b"")
    flux.configured({"thresholds": {"eager_eot_threshold": 0.4}})
    with pytest.raises(NotConfigurable, match="the audio is in a container"):
        flux.configured({"thresholds": {"eot_threshold": 0.9}})


names = st.sampled_from(["encoding", "sample_rate", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms", "x"])
values = st.sampled_from(["linear16", "16000", "0.7", "0.3", "1.0", "inf", "-1", "1e9", "", "9" * 400, "500"])


@given(st.lists(st.tuples(names, values)))
def test_any_query_is_read_or_refused(pairs):
    try:
        flux = parse("&".join(f"{name}={value}" for name, value in pairs).encode())
    except InvalidStart:
        return
    assert 300 <= flux.start.vad.silence_duration_ms <= 10_000
    assert 0 < SILENCE.confidence(flux.thresholds) <= 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
thresholds = st.dictionaries(st.sampled_from(Thresholds.__struct_fields__), json_values | st.floats(0.3, 1.0))


@given(st.fixed_dictionaries({}, optional={
    "thresholds": thresholds | json_values,
    "keyterms": st.lists(st.text()) | json_values,
    "language_hints": json_values,
}))  # fmt: skip
def test_any_configure_is_carried_out_or_refused(message):
    try:
        flux = parse(RAW, SCHEMA).configured(message)
    except NotConfigurable:
        return
    assert flux.thresholds.check() is flux.thresholds
    assert 300 <= flux.start.vad.silence_duration_ms <= 10_000


def test_a_turn_detector_gets_the_thresholds():
    query = RAW + b"&eot_threshold=0.8&eot_timeout_ms=3000&eager_eot_threshold=0.4"
    flux = parse_flux(query, silence=SILENCE, has_turn_detector=True)
    assert flux.start.turn == TurnOptions(threshold=0.8, max_silence_ms=3000)
    changed = flux.configured({"thresholds": {"eot_threshold": 0.6, "eot_timeout_ms": 60_000}})
    assert changed.start.turn == TurnOptions(threshold=0.6, max_silence_ms=10_000)
    eager = flux.configured({"thresholds": {"eager_eot_threshold": 0.6}})
    assert eager.start == flux.start  # no other session
