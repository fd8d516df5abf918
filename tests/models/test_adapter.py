from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from voxgate.errors import ModelLoadError
from voxgate.models.adapter import ModelAdapter, declares_text, takes_request
from voxgate.models.base import Batch, Model
from voxgate.models.function import FunctionModel
from voxgate.models.request import Request

AUDIO = np.zeros(3, np.float32)
REQUEST = Request(channel=7)


def model_with(**methods: Any) -> Model:
    return type("Mine", (Model,), {"infer": lambda self, audio: {}, **methods})()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("infer", "expected"),
    [
        (lambda self, audio: None, None),
        (lambda self, audio, request: request.channel, 7),
        (lambda self, audio, anything: anything.channel, 7),
        (lambda self, audio, request=None: request.channel, 7),
        (lambda self, audio, beam=5: beam, 5),
        (lambda self, audio, beam=5, request=None: beam, 5),
        (lambda self, *args: len(args), 1),
        (lambda self, audio, *more: len(more), 0),
        (lambda self, audio, request, /: request.channel, 7),
        (lambda self, audio, *, beam=5: beam, 5),
        (staticmethod(lambda audio, request: request.channel), 7),
    ],
)
def test_infer_gets_the_request_if_its_signature_asks_for_it(infer: Any, expected: Any) -> None:
    assert ModelAdapter(model_with(infer=infer)).infer(AUDIO, REQUEST) == expected


@pytest.mark.parametrize(
    ("open", "expected"),
    [
        (lambda self: "plain", "plain"),
        (lambda self, request: request.channel, 7),
        (lambda self, request=None: request.channel, 7),
        (lambda self, size=3: size, 3),
    ],
)
def test_open_gets_the_request_if_its_signature_asks_for_it(open: Any, expected: Any) -> None:
    assert ModelAdapter(model_with(open=open)).open(REQUEST) == expected


INFER = "infer(self, audio) or infer(self, audio, request)"


@pytest.mark.parametrize(
    ("methods", "text"),
    [
        ({"infer": lambda self: {}}, f"{INFER}, but its infer takes no argument"),
        ({"infer": lambda self, a, b, c: {}}, f"{INFER}, but its infer also requires c"),
        ({"infer": lambda self, a, b, c, d: {}}, f"{INFER}, but its infer also requires c, d"),
        ({"infer": lambda self, audio, *, request: {}}, f"{INFER}, but its infer also requires request"),
        ({"infer_batch": lambda self: []}, "infer_batch(self, batch), but its infer_batch takes no argument"),
        ({"infer_batch": lambda self, a, b: []}, "infer_batch(self, batch), but its infer_batch also requires b"),
        ({"open": lambda self, a, b: []}, "open(self) or open(self, request), but its open also requires b"),
        ({"step": lambda self, audio: []}, "step(self, audio, state), but its step takes only audio"),
        ({"step": lambda self, a, b, c: []}, "step(self, audio, state), but its step also requires c"),
        ({"finish": lambda self: []}, "finish(self, state), but its finish takes no argument"),
    ],
)
def test_a_method_that_cannot_be_called_is_named(methods: Any, text: str) -> None:
    with pytest.raises(ModelLoadError) as failure:
        ModelAdapter(model_with(**methods), "mypkg:Mine")
    assert str(failure.value) == f"model 'mypkg:Mine': expected Mine to define {text}"


def test_a_callable_without_a_signature_takes_the_audio_alone() -> None:
    model = Model()
    model.infer = dict  # type: ignore[assignment]
    assert ModelAdapter(model).infer([("a", 1)], REQUEST) == {"a": 1}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda audio: {}, False),
        (lambda audio, request: {}, True),
        (lambda audio, request=None: {}, True),
        (lambda audio, threshold: {}, False),
        (lambda audio, threshold, request: {}, False),
        (functools.partial(lambda beam, audio, request: {}, 5), True),
        (dict, False),
    ],
)
def test_a_function_takes_the_request_by_its_name(function: Any, expected: bool) -> None:
    assert takes_request(function) is expected


def test_a_function_model_passes_the_request_on() -> None:
    model = FunctionModel(lambda audio, request, *, gain: {"of": request.channel, "gain": gain}, {"gain": 2})
    assert ModelAdapter(model).infer(AUDIO, REQUEST) == {"of": 7, "gain": 2}
    assert ModelAdapter(FunctionModel(lambda audio: {"n": len(audio)})).infer(AUDIO, REQUEST) == {"n": 3}


def test_a_model_without_infer_batch_answers_each_item_with_its_request() -> None:
    model = model_with(infer=lambda self, audio, request: request.channel)
    batch = Batch.gather([AUDIO] * 2, [Request(channel=1), Request(channel=2)])
    assert model.infer_batch(batch) == [1, 2]


def words(audio: np.ndarray) -> str:
    return ""


def no_words(audio: np.ndarray) -> dict[str, float]:
    return {}


class Words(Model):
    def infer(self, audio: np.ndarray) -> str:
        return ""


def test_a_model_declares_text_by_its_attribute_or_its_annotation() -> None:
    assert declares_text(Words()) is True
    assert declares_text(FunctionModel(words)) is True
    assert declares_text(FunctionModel(no_words)) is None
    assert declares_text(model_with()) is None
    assert declares_text(model_with(gives_text=False)) is False
    assert declares_text(model_with(gives_text=True)) is True
