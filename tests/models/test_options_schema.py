"""A class made from a schema accepts and refuses what the original does."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, field

from voxgate.models.base import Model
from voxgate.models.options_schema import struct_of
from voxgate.models.session_options import SessionOptions


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct, forbid_unknown_fields=True):
    x: int
    more: list[Inner] = []


class Cat(Struct, tag="cat"):
    lives: int = 9


class Dog(Struct, tag="dog"):
    tail: bool = True


class Wide(Struct):
    number: int
    text: Annotated[str, Meta(min_length=1, max_length=4, pattern="^[a-z]*$")] = "a"
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    flag: bool = False
    color: Color = Color.RED
    size: Literal[1, 2, "many"] = 1
    either: int | str | None = None
    names: Annotated[list[str], Meta(max_length=2)] = []
    table: dict[str, float] = {}
    inner: Inner | None = None
    nothing: None = None
    anything: Any = None
    renamed: int = field(default=1, name="with-dash")


class Pets(Struct):
    pet: Cat | Dog = field(default_factory=Cat)


def rebuilt(original: type[Struct]) -> tuple[SessionOptions, SessionOptions]:
    options = SessionOptions(type("Here", (Model,), {"Options": original})())
    assert options.schema is not None
    attributes = {"Options": struct_of(options.schema), "options_schema": options.schema}
    return options, SessionOptions(type("There", (Model,), attributes)())


HERE, THERE = rebuilt(Wide)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-1, 2),
    st.sampled_from(["", "a", "red", "many", "zzzzz", "A"]),
    st.lists(st.sampled_from(["a", 1]), max_size=3),
    st.dictionaries(st.sampled_from(["x", "more", "y"]), st.sampled_from([1, "a", [], [{"x": 1}], [{"y": 1}]])),
)
names = st.sampled_from([*(HERE.schema or {})["properties"], "unknown"])


@given(st.dictionaries(names, values, max_size=4))
def test_it_accepts_what_the_original_accepts(given_options: dict[str, Any]) -> None:
    given_options.setdefault("number", 3)
    outcomes = []
    for options in (HERE, THERE):
        try:
            options.parse(given_options)
            outcomes.append("")
        except Exception as error:
            outcomes.append(str(error).partition(":")[0])
    assert outcomes[0] == outcomes[1]


def test_what_was_not_given_is_left_to_the_original() -> None:
    parsed = THERE.parse({"number": 1, "with-dash": 5})
    assert msgspec.to_builtins(parsed) == {"number": 1, "with-dash": 5}


def test_what_only_the_original_can_judge_passes() -> None:
    _, there = rebuilt(Pets)
    for pet in ({"type": "dog"}, {"type": "cat", "lives": "many"}):
        assert msgspec.to_builtins(there.parse({"pet": pet})) == {"pet": pet}


@pytest.mark.parametrize(
    "schema", [{}, {"type": "object"}, {"properties": {"x": {"type": "odd"}, "y": {"enum": [1.5]}}}]
)
def test_any_schema_gives_a_class(schema: dict[str, Any]) -> None:
    assert issubclass(struct_of(schema), Struct)
