"""TextAudio against the parser of OpenAI's API: it finds the same bytes, or nothing."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voxgate._native.text_audio import TextAudio
from voxgate.endpoints.openai.realtime_requests import Append, InvalidRequest, parse_realtime

KIND = "input_audio_buffer.append"


def find(text: str) -> bytes | None:
    return TextAudio(KIND, array("q", (0, 0)))(text.encode("utf-8", "surrogatepass"))


def append(audio: bytes, **fields: Any) -> str:
    return json.dumps({"type": KIND, "audio": base64.b64encode(audio).decode(), **fields})


@given(st.binary(min_size=1, max_size=50), st.permutations(["type", "audio", "event_id"]), st.integers(2, 3))
def test_usual_messages_need_no_parser(audio, order, n):
    names = order if n == 3 else [name for name in order if name != "event_id"]
    values = {"type": KIND, "audio": base64.b64encode(audio).decode(), "event_id": "event_7 {\u007e}"}
    message = {name: values[name] for name in names}
    for text in (json.dumps(message), json.dumps(message, separators=(",", ":")), json.dumps(message, indent=2)):
        assert find(text) == audio


_TOKENS = ['"type"', '"audio"', '"event_id"', f'"{KIND}"', '"AAAA"', '"/+8="', '"AB=="', '"QQ=="', "{", "}", ":", ","]
_ODD = ['"a\\"b"', '"\\u0041AAA"', '"A"', '"=AAA"', '"A===""', '"====" ', " ", "\n", "\x0b", "\0", '"', "null", "[]", '"ä"', "x"]
_pieces = st.sampled_from([*_TOKENS, *_TOKENS, *_ODD])


@given(st.data())
def test_what_it_finds_the_parser_finds_too(data):
    """Messages that are nearly right: pieces taken out of one, put in, exchanged."""
    pieces = ["{", '"type"', ":", f'"{KIND}"', ",", '"audio"', ":", data.draw(_pieces), "}"]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(pieces)))
        pieces[at : at + data.draw(st.integers(0, 1))] = data.draw(st.lists(_pieces, max_size=4))
    text = "".join(pieces)
    found = find(text)
    if found is not None:
        assert parse_realtime(text) in (Append(found), Append(found, "a"), *(Append(found, e) for e in _ids(text)))


def _ids(text: str) -> list[str]:
    value = json.loads(text).get("event_id")
    return [] if value is None else [value]


@given(st.text(alphabet="AQZaz09+/=\n -_", max_size=12))
@example("AB==")  # bits that no byte has
@example("ABC=")
@example("AA=A")
@example("=" * 4)
def test_base64_is_what_the_parser_takes_for_it(text):
    message = json.dumps({"type": KIND, "audio": text})
    try:
        parsed = parse_realtime(message)
    except InvalidRequest:
        parsed = None
    found = find(message)
    assert found is None or parsed == Append(found)
    if isinstance(parsed, Append) and parsed.audio and base64.b64encode(parsed.audio).decode() == text:
        assert found == parsed.audio


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        append(b""),
        append(b"abc") + "x",
        append(b"abc") + "{}",
        append(b"abc").replace(KIND, "input_audio_buffer.commit"),
        append(b"abc").replace(KIND, KIND + "x"),
        append(b"abc").replace(KIND, KIND[:-1]),
        append(b"abc", event_id=None),
        append(b"abc", event_id=7),
        append(b"abc", event_id="ä"),
        append(b"abc", event_id='"'),
        append(b"abc", more="x"),
        append(b"abc").replace('"audio": "', '"audio": "AAAA", "audio": "'),
        append(b"abc").replace('{"type"', f'{{"type": "{KIND}", "type"'),
        append(b"abc").replace("}", ",}"),
        append(b"abc").replace('"type"', '"\\u0074ype"'),
        append(b"abc").replace(",", ""),
        append(b"abc")[:-1],
        append(b"abc")[:-3],
        "[" + append(b"abc") + "]",
        '{"audio": "AAAA"}',
        "\ufeff" + append(b"abc"),
    ],
)
def test_other_messages_are_for_the_parser(text):
    assert find(text) is None


@pytest.mark.parametrize("kind", ["a\\b", 'a"b', "ä", "a\nb"])
def test_a_kind_that_json_would_escape(kind):
    with pytest.raises(ValueError, match="kind must be ASCII without quotes and backslashes"):
        TextAudio(kind, array("q", (0, 0)))


def test_counts_need_two_numbers():
    with pytest.raises(ValueError, match="count must have 2 numbers, got 3"):
        TextAudio(KIND, array("q", (0, 0, 0)))
