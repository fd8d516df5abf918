"""The settings of turn detection, a server's and a client's."""

from __future__ import annotations

import pytest

from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.json_codec import encode_request, parse_request
from voxgate.protocol.requests import Start, TurnOptions
from voxgate.vad.turns import TurnConfig

ON = TurnConfig("text")


def test_a_client_changes_what_it_names():
    assert ON.merged(None) is ON
    merged = ON.merged(TurnOptions(min_silence_ms=300, threshold=0.7, max_silence_ms=2000))
    assert merged == TurnConfig("text", True, 300, 0.7, 0.3, 0.0, 2000)
    assert merged.is_on
    assert not ON.merged(TurnOptions(enabled=False)).is_on
    assert ON.merged(TurnOptions(threshold=0.05)).unfinished_threshold == 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TurnOptions(threshold=0), "turn.threshold must be 0.01..1, got 0"),
        (TurnOptions(threshold=1.01), "turn.threshold must be 0.01..1, got 1.01"),
        (TurnOptions(min_silence_ms=49), "turn.min_silence_ms must be 50..5000 ms, got 49"),
        (TurnOptions(max_silence_ms=10_001), "turn.max_silence_ms must be 50..10000 ms, got 10001"),
        (TurnOptions(unfinished_threshold=0.6), "turn.unfinished_threshold must be 0..0.5, got 0.6"),
        (TurnOptions(eager_threshold=-1), "turn.eager_threshold must be 0..1, got -1"),
    ],
)
def test_what_is_out_of_range(options, message):
    with pytest.raises(InvalidStart) as caught:
        ON.merged(options)
    assert str(caught.value) == message


def test_a_server_without_a_detector_says_so():
    off = TurnConfig()
    assert off.merged(TurnOptions(enabled=False)) == TurnConfig(enabled=False)
    for options in (TurnOptions(), TurnOptions(enabled=True), TurnOptions(threshold=0.6)):
        with pytest.raises(InvalidStart, match="the server has no turn detector"):
            off.merged(options)


def test_on_the_native_wire():
    start = Start(AudioFormat(1, 16_000, 16, False), turn=TurnOptions(enabled=True, threshold=0.7))
    text = encode_request(start)
    assert '"turn":{"enabled":true,"threshold":0.7}' in text
    assert parse_request(text) == start
