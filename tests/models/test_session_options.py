from __future__ import annotations

import gc
import uuid
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from voxgate.errors import InvalidStart, ModelLoadError
from voxgate.models.base import Model
from voxgate.models.options_schema import struct_of
from voxgate.models.session_options import SessionOptions


class Place(Struct):
    city: str = "Bonn"


class Options(Struct):
    language: Literal["de", "en"]
    beam: Annotated[int, Meta(ge=1, le=10, description="Width of the search.")] = 5
    hotwords: list[str] = []
    prompt: Annotated[str, Meta(max_length=3)] | None = None
    place: Place = msgspec.field(default_factory=Place)
    threshold: Annotated[float, Meta(gt=0)] = 0.5


class Chosen(Model):
    Options = Options


class Free(Model):
    class Options(Struct):
        language: str | None = None


def remote(model: Model) -> Model:
    """The model as the server knows it when it runs in another process."""
    schema = SessionOptions(model).schema
    assert schema is not None
    return type("Chosen", (Model,), {"Options": struct_of(schema), "options_schema": schema})()  # type: ignore[no-any-return]


@pytest.fixture(params=[False, True], ids=["here", "elsewhere"])
def options(request: pytest.FixtureRequest) -> SessionOptions:
    return SessionOptions(remote(Chosen()) if request.param else Chosen())


def test_options_become_an_instance_of_the_class_of_the_model() -> None:
    parsed = SessionOptions(Chosen()).parse({"language": "de", "place": {"city": "Köln"}})
    assert isinstance(parsed, Options)
    assert (parsed.language, parsed.beam, parsed.place) == ("de", 5, Place("Köln"))


def test_without_options_a_session_has_the_defaults() -> None:
    free = SessionOptions(Free())
    assert isinstance(free.parse(None), Free.Options)
    assert free.parse({}) == free.parse(None)
    assert free.parse(None).language is None
    assert free.parse(None) is not free.parse(None)


KNOWN = "language, beam, hotwords, prompt, place, threshold"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (None, 'options.language: expected one of "de", "en", got nothing'),
        ({}, 'options.language: expected one of "de", "en", got nothing'),
        ({"language": "fr"}, 'options.language: expected one of "de", "en", got "fr"'),
        ({"language": None}, 'options.language: expected one of "de", "en", got null'),
        ({"language": "de", "beam": 11}, "options.beam: expected int of 1..10, got 11"),
        ({"language": "de", "beam": "5"}, 'options.beam: expected int of 1..10, got "5"'),
        ({"language": "de", "beam": True}, "options.beam: expected int of 1..10, got true"),
        ({"language": "de", "threshold": 0}, "options.threshold: expected float above 0, got 0"),
        ({"language": "de", "hotwords": "a"}, 'options.hotwords: expected array, got "a"'),
        ({"language": "de", "hotwords": [1]}, "options.hotwords[0]: expected str, got int"),
        (
            {"language": "de", "prompt": "abcd"},
            'options.prompt: expected str of at most 3 characters or null, got "abcd"',
        ),
        ({"language": "de", "place": {"city": 7}}, "options.place.city: expected str, got 7"),
        (
            {"language": "de", "langage": "en"},
            f"options.langage: unknown, got \"en\"; expected one of {KNOWN}; did you mean 'language'?",
        ),
        ({"language": "de", "x": [1]}, f"options.x: unknown, got [1]; expected one of {KNOWN}"),
    ],
)
def test_wrong_options_are_refused_with_the_field_its_value_and_what_is_allowed(
    options: SessionOptions, wrong: Any, text: str
) -> None:
    with pytest.raises(InvalidStart) as failure:
        options.parse(wrong)
    assert str(failure.value) == text


def test_a_model_without_options_refuses_them() -> None:
    options = SessionOptions(Model())
    assert options.schema is None
    assert options.parse(None) is None
    assert options.parse({}) is None
    with pytest.raises(InvalidStart, match=r"^options: model 'Model' takes none, got \"language\", \"beam\"$"):
        options.parse({"language": "de", "beam": 5})


def test_the_schema_is_json_schema_without_a_reference_at_its_top(options: SessionOptions) -> None:
    schema = options.schema
    assert schema is not None
    assert schema["type"] == "object"
    assert schema["required"] == options.required == ["language"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["beam"] == {
        "type": "integer", "minimum": 1, "maximum": 10, "default": 5, "description": "Width of the search.",
    }  # fmt: skip
    assert schema["$defs"]["Place"]["properties"] == {"city": {"type": "string", "default": "Bonn"}}


class Strict(Model):
    class Options(Struct):
        a: int = 0
        b: int = 0

        def __post_init__(self) -> None:
            if self.a > 5:
                raise ValueError("a and b do not fit")
            if self.b > 5:
                raise ZeroDivisionError("secret")


def test_checks_of_the_class_itself_count(caplog: pytest.LogCaptureFixture) -> None:
    options = SessionOptions(Strict())
    with pytest.raises(InvalidStart, match=r"^options: a and b do not fit$"):
        options.parse({"a": 6})
    with pytest.raises(InvalidStart, match=r"^options: the model failed to check them$"):
        options.parse({"b": 6})
    assert "secret" in caplog.text


@pytest.mark.parametrize("wrong", [dict, {"language": "de"}, Place(), "de"])
def test_options_that_are_no_struct_are_refused(wrong: Any) -> None:
    model = type("Wrong", (Model,), {"Options": wrong})()
    with pytest.raises(
        ModelLoadError, match=r"^model 'pkg:Wrong': expected Options to be a class derived from msgspec"
    ):
        SessionOptions(model, "pkg:Wrong")


def test_options_that_json_cannot_say_are_refused() -> None:
    class Odd(Struct):
        x: complex = 0j

    with pytest.raises(ModelLoadError, match=r"^model 'Odd': Options cannot be described in JSON: "):
        SessionOptions(type("Odd", (Model,), {"Options": Odd})())


def test_equal_options_have_one_group_and_different_ones_have_not(options: SessionOptions) -> None:
    german, english = ({"language": language} for language in ("de", "en"))
    group = options.group_of(options.parse(german))
    assert group is not None
    assert options.group_of(options.parse(german)) is group
    assert options.group_of(options.parse(english)) is not group
    assert options.group_of(None) is None


def test_groups_that_nobody_uses_are_forgotten() -> None:
    options = SessionOptions(Free())
    for _ in range(100):
        options.group_of(options.parse({"language": uuid.uuid4().hex}))
    gc.collect()
    assert len(options._groups) == 0


def test_a_model_that_mixes_options_has_no_groups() -> None:
    options = SessionOptions(type("Mixing", (Free,), {"mixes_options": True})())
    assert options.group_of(options.parse({"language": "de"})) is None
