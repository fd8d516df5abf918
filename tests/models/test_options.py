from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pytest

from voxgate.config import load_config
from voxgate.config.option_text import OptionText
from voxgate.errors import ModelLoadError
from voxgate.models import Model, load_model
from voxgate.models.dummy import Dummy
from voxgate.models.options import convert


class Device(enum.Enum):
    CPU = "cpu"
    GPU = "gpu"


class Own:
    """A class that no configuration can say."""


def taking(annotation: Any) -> Callable[..., Any]:
    def function(audio: Any, option: Any = None) -> Any: ...

    function.__annotations__["option"] = annotation
    return function


def converted(annotation: Any, value: Any) -> Any:
    function = taking(annotation)
    parameters = dict(inspect.signature(function).parameters)
    return convert("m", function, parameters, (), {"option": value})[1]["option"]


def refusal(annotation: Any, value: Any) -> str:
    with pytest.raises(ModelLoadError) as caught:
        converted(annotation, value)
    text = str(caught.value)
    assert text.startswith("model 'm': the option 'option' must be ")
    return text.removeprefix("model 'm': the option 'option' must be ")


ALLOWED: list[tuple[Any, Any, Any]] = [
    (int, "3", 3),
    (int, 3, 3),
    (int, 3.0, 3),
    (int, OptionText("1_000"), 1000),
    (float, "0.5", 0.5),
    (float, 1, 1.0),
    (float, OptionText("-20"), -20.0),
    (bool, "true", True),
    (bool, "off", False),
    (bool, OptionText("Yes"), True),
    (bool, OptionText("1"), True),
    (bool, False, False),
    (str, "10", "10"),
    (str, 10, "10"),
    (str, OptionText("1.10"), "1.10"),
    (str, OptionText("true"), "true"),
    (str, OptionText("[1]"), "[1]"),
    (str, OptionText(""), ""),
    (list[str], OptionText('["a","b"]'), ["a", "b"]),
    (list[str], '["a","b"]', ["a", "b"]),
    (list[str], ["a"], ["a"]),
    (list[float], ["1", 2], [1.0, 2.0]),
    (tuple[int, ...], OptionText("[1, 2]"), (1, 2)),
    (str | Sequence[str], OptionText('["a"]'), ["a"]),
    (str | Sequence[str], OptionText("labels.txt"), "labels.txt"),
    (dict[str, int], OptionText('{"a": 1}'), {"a": 1}),
    (Mapping[str, Any] | None, {"a": [1]}, {"a": [1]}),
    (Literal["fast", "good"], OptionText("good"), "good"),
    (Literal[1, 2], OptionText("2"), 2),
    (Optional[int], OptionText("5"), 5),  # noqa: UP045 -- as models write it
    (Optional[int], OptionText(""), None),  # noqa: UP045
    (int | str, OptionText("5"), 5),
    (int | str, OptionText("x"), "x"),
    (int | str, "5", "5"),
    (Device, OptionText("gpu"), Device.GPU),
    (Device, "cpu", Device.CPU),
    (Path, OptionText("10"), Path("10")),
    (Path | None, "a/b", Path("a/b")),
    (str | Path, OptionText("10"), "10"),
    (Annotated[float, "Hz"], OptionText("3"), 3.0),
    ("int", OptionText("3"), 3),
    ("Device", "gpu", Device.GPU),
    # nothing to go by: the guess, or the value as it is
    ("KnownToATypeChecker", OptionText("3"), 3),
    (inspect.Parameter.empty, OptionText("3"), 3),
    (inspect.Parameter.empty, "3", "3"),
    (Any, OptionText("0.5"), 0.5),
    (object, OptionText("x"), "x"),
    (Own, OptionText("x"), "x"),
    (np.dtype, "float16", "float16"),
    (Callable[[], int], "x", "x"),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), ALLOWED, ids=range(len(ALLOWED)))
def test_a_value_becomes_what_the_annotation_says(annotation: Any, value: Any, expected: Any) -> None:
    found = converted(annotation, value)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, list):
        assert [type(item) for item in found] == [type(item) for item in expected]


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (float, OptionText("loud"), 'a number, got "loud"'),
        (float, True, "a number, got true"),
        (int, "1.5", 'an integer, got "1.5"'),
        (int, 1.5, "an integer, got 1.5"),
        (int, True, "an integer, got true"),
        (bool, "maybe", 'true or false, got "maybe"'),
        (str, 1.1, "a string, got 1.1"),
        (str, ["a"], 'a string, got ["a"]'),
        (int | None, OptionText("x"), 'an integer, got "x"'),
        (int | float, OptionText("x"), 'an integer or a number, got "x"'),
        (list[str], OptionText("a,b"), 'list[str], got "a,b"'),
        (list[int], ["x"], 'list[int], got ["x"] (Expected `int`, got `str` - at `$[0]`)'),
        (Sequence[str], 3, "Sequence[str], got 3"),
        (Literal["fast", "good"], OptionText("god"), 'one of "fast", "good", got "god"'),
        (Device, "tpu", 'one of "cpu", "gpu", got "tpu"'),
        (Path, 3.5, "a path, got 3.5"),
        (float, "x" * 100, f'a number, got "{"x" * 77}…"'),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(annotation: Any, value: Any, text: str) -> None:
    assert refusal(annotation, value) == text


class Configured(Model):
    def __init__(self, path: Path, *more: int, threshold_db: float = -40.0, **others: bool) -> None:
        self.given = (path, more, threshold_db, others)

    def infer(self, audio: Any) -> Mapping[str, Any]:
        return {}


def test_every_argument_is_converted_wherever_it_stands() -> None:
    parameters = dict(inspect.signature(Configured).parameters)
    options = {"threshold_db": OptionText("-20"), "other": OptionText("no")}
    arguments, named = convert("m", Configured, parameters, ("a", "3"), options)
    assert Configured(*arguments, **named).given == (Path("a"), (3,), -20.0, {"other": False})


def test_annotations_are_found_behind_partials_and_calls() -> None:
    class Callable_:
        def __call__(self, audio: Any, option: int) -> Any: ...

    for function in (functools.partial(taking("int"), 1), Callable_()):
        parameters = dict(inspect.signature(function).parameters)
        assert convert("m", function, parameters, (), {"option": "3"})[1] == {"option": 3}


@pytest.mark.parametrize("source", ["file.toml", "file.json", "environment", "flag"])
def test_every_source_is_converted_alike(tmp_path: Path, source: str) -> None:
    def load(value: str) -> Model:
        path, environ, flags = tmp_path / source, {}, {}
        if source == "environment":
            environ = {"VOXGATE_MODEL_DELAY": value}
        elif source == "flag":
            flags = {"model.delay": value}
        elif source == "file.toml":
            path.write_text(f'[model]\nname = "dummy"\ndelay = "{value}"\n')
        else:
            path.write_text(f'{{"model": {{"name": "dummy", "delay": "{value}"}}}}')
        file = path if source.startswith("file") else None
        settings = load_config(file, environ, {"model": "dummy", **flags}).model
        return load_model(settings.name, settings.options)

    model = load("2")
    assert isinstance(model, Dummy)
    assert type(model.delay) is float
    assert model.delay == 2.0
    with pytest.raises(ModelLoadError) as caught:
        load("long")
    assert str(caught.value) == "model 'dummy': the option 'delay' must be a number, got \"long\""


def test_a_misspelt_variable_is_refused_with_the_name_from_a_flag() -> None:
    settings = load_config(None, {"VOXGATE_MODEL_DEALY": "2"}, {"model": "dummy"}).model
    with pytest.raises(ModelLoadError, match=r"unknown option 'dealy': expected one of delay, .*'delay'\?$"):
        load_model(settings.name, settings.options)
