import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import voxgate.protocol.output as output_module
from voxgate.protocol.output import RESERVED_KEYS, SESSION_KEYS, Output, UnsendableOutput
from voxgate.protocol.transcript import Transcript, Word


class Point(msgspec.Struct, rename={"x_m": "x"}, omit_defaults=True):
    x_m: float
    text: str = ""


@dataclasses.dataclass
class Said:
    text: str
    scores: Any


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=10,
)
keys = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda key: key not in RESERVED_KEYS)


@given(st.dictionaries(keys, json_values, max_size=4))
def test_an_output_is_the_mapping_that_it_was_made_of(result):
    output = Output.of(result)
    assert output == result
    assert dict(output) == result
    assert list(output) == list(result)
    assert len(output) == len(result)
    assert bool(output) == bool(result)
    assert msgspec.json.decode(b"{" + output.json + b"}") == result
    assert output.transcript == Transcript.of(result)
    assert output.session_keys == SESSION_KEYS & result.keys()


def test_it_is_no_longer_the_models_own():
    scores, words = np.zeros(3), ["a"]
    output = Output.of({"scores": scores, "words": words})
    scores[:] = 7
    words.append("b")
    assert output == {"scores": [0.0, 0.0, 0.0], "words": ["a"]}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"x": np.float32(0.5), "y": np.arange(2), "z": np.str_("a")}, {"x": 0.5, "y": [0, 1], "z": "a"}),
        ({"x": math.nan, "y": [math.inf]}, {"x": None, "y": [None]}),
        (Point(1.5), {"x": 1.5}),
        (Point(1.5, "hi"), {"x": 1.5, "text": "hi"}),
        (Said("hi", np.ones(2)), {"text": "hi", "scores": [1.0, 1.0]}),
        ({"inner": Point(2.0), "more": {1: (2, 3)}}, {"inner": {"x": 2.0}, "more": {"1": [2, 3]}}),
        ({}, {}),
    ],
)
def test_what_a_model_may_return(result, expected):
    assert Output.of(result) == expected


def test_the_transcript_is_made_of_plain_data():
    word = {"word": "yes", "start": np.float32(0.5), "end": np.float64(0.75)}
    assert Output.of({"text": "yes", "words": [word]}).transcript == Transcript("yes", (Word("yes", 0.5, 0.75),))
    assert Output.of({"transcript": np.str_("no")}).transcript == Transcript("no")
    assert Output.of(Said("hi", [])).transcript == Transcript("hi")
    assert Output.of({"rms": 0.5}).transcript is None


class Raising:
    def tolist(self) -> Any:
        raise RuntimeError("secret value")


class Tagged(msgspec.Struct, tag="point"):
    x: float


class Listed(msgspec.Struct, array_like=True):
    x: float


UNSENT = 'the key "x" of the result cannot be sent as JSON: '
NO_MAPPING = "expected a mapping with string keys, a msgspec Struct, a dataclass, a str or None, not an object of type "


@pytest.mark.parametrize(
    ("result", "text"),
    [
        *(({key: 1}, f'the key "{key}" of the result is reserved') for key in sorted(RESERVED_KEYS)),
        ({1: 2}, "expected a result with string keys, but a key is of type 'int'"),
        ({"a": 1, "x": object()}, UNSENT + "object has no JSON form"),
        ({"x": "\ud800"}, UNSENT + "it contains text that UTF-8 cannot encode"),
        ({"x": Raising()}, UNSENT + "RuntimeError"),
        (Said("", object()), "'Said' cannot be sent as a JSON object: object has no JSON form"),
        (Tagged(1.0), 'the key "type" of the result is reserved'),
        (Listed(1.0), "'Listed' cannot be sent as a JSON object: Expected `object`, got `array`"),
        ([1], NO_MAPPING + "'list'"),
        (Said, NO_MAPPING + "'type'"),
        (None, NO_MAPPING + "'NoneType'"),
    ],
)
def test_what_cannot_be_sent_is_named(result, text):
    with pytest.raises(UnsendableOutput) as failure:
        Output.of(result)
    assert str(failure.value) == text


@pytest.mark.parametrize(
    "value",
    [
        np.arange(10_000) / 3,
        np.arange(4096, dtype=np.float32),
        np.arange(4097),
        np.arange(3 * 5000).reshape(3, 5000),
        np.arange(5000 * 3).reshape(5000, 3),
        np.arange(2 * 2 * 5000).reshape(2, 2, 5000),
        np.arange(20_000)[::2],
        np.full(5000, np.nan),
        np.zeros((0, 5000)),
        [{"a": i} for i in range(9000)],
        [[i] * 10 for i in range(5000)],
    ],
    ids=range(11),
)
def test_a_large_value_is_encoded_in_pieces_to_the_same_json(value):
    for result in ({"x": value}, {"a": 1, "x": value, "text": "ja"}, Said("ja", value)):
        items = dataclasses.asdict(result) if isinstance(result, Said) else result
        expected = msgspec.json.encode(items, enc_hook=lambda array: array.tolist())
        output = Output.of(result)
        assert b"{" + output.json + b"}" == expected
        assert output.transcript == (None if "text" not in items else Transcript("ja"))


class Tensor:
    """As of PyTorch: `size` is a method, and the items of a slice are a Tensor again."""

    largest = 0

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def size(self):
        return self.shape

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        return Tensor(self.array[index])

    def tolist(self):
        Tensor.largest = max(Tensor.largest, self.array.size)
        return self.array.tolist()


class Scored(msgspec.Struct, frozen=True, rename={"scores": "all"}):
    scores: Any
    text: str = "ja"


@dataclasses.dataclass(frozen=True)
class FrozenSaid:
    scores: Any


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (5000,), (2, 5000)])
def test_a_tensor_of_any_size(shape):
    array = np.zeros(shape)
    assert Output.of({"x": Tensor(array)}) == {"x": array.tolist()}


@pytest.mark.parametrize(
    "place",
    [
        lambda value: {"x": value},
        lambda value: {"x": {"y": {1: value}, "z": 0}},
        lambda value: {"x": [value, value]},
        lambda value: {"x": (value,)},
        lambda value: {"x": [{"y": value}]},
        lambda value: Said("ja", value),
        lambda value: Said("ja", {"y": value}),
        lambda value: FrozenSaid(value),
        lambda value: Scored(value),
        lambda value: {"x": Scored(value)},
    ],
    ids=range(10),
)
@pytest.mark.parametrize("shape", [(20_000,), (100, 200), (2, 2, 5000)])
def test_a_large_value_is_encoded_in_pieces_wherever_it_is(monkeypatch, place, shape):
    array = np.arange(math.prod(shape)).reshape(shape)
    monkeypatch.setattr(Tensor, "largest", 0)
    output = Output.of(place(Tensor(array)))
    expected = msgspec.json.encode(place(array.tolist()))
    assert b"{" + output.json + b"}" == expected
    assert Tensor.largest <= 4096


@pytest.mark.parametrize(
    "place",
    [
        lambda value: {"x": value},
        lambda value: {"x": {"y": {1: value}, "z": 0}},
        lambda value: {"x": (value,)},
        lambda value: Said("ja", value),
        lambda value: FrozenSaid(value),
        lambda value: Scored(value),
    ],
    ids=range(6),
)
@pytest.mark.parametrize(
    "value",
    [[1] * 20_000, [[1] * 200] * 100, ((1,) * 20_000,), [{"word": "a", "start": 1, "end": 1, "p": 1}] * 5000],
    ids=range(4),
)
def test_no_call_of_the_encoder_walks_through_a_large_list(monkeypatch, place, value):
    walked = []

    class Counting:
        def encode(self, part):
            # What is encoded already is `Raw`, and copied as it is.
            walked.append(len(msgspec.json.encode(msgspec.to_builtins(part, enc_hook=lambda raw: None))))
            return encoder.encode(part)

    encoder = output_module._encoder
    result = place(value)
    monkeypatch.setattr(output_module, "_encoder", Counting())
    output = Output.of(result)
    assert b"{" + output.json + b"}" == msgspec.json.encode(result)
    assert max(walked) < 0.3 * len(output.json)


def test_a_result_with_a_large_list_stays_as_it_is():
    values = list(range(5000))
    result = FrozenSaid(values)
    assert Output.of(result) == {"scores": values}
    assert result.scores is values


def test_what_cannot_be_sent_is_named_in_a_large_value_too():
    with pytest.raises(UnsendableOutput, match=r'^the key "x" of the result cannot be sent as JSON: object has no'):
        Output.of({"x": [*range(5000), object()]})


def test_it_is_a_mapping():
    output: Mapping[str, Any] = Output.of({"a": 1})
    assert isinstance(output, Mapping)
    assert output["a"] == 1
    assert {**output} == {"a": 1}
    assert repr(output) == "Output({'a': 1})"
    with pytest.raises(KeyError):
        output["b"]
