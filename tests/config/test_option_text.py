"""Options of the model that come as text."""

from __future__ import annotations

import pytest

from helpers.settings import load
from voxgate.config.option_text import OptionText


def test_only_text_of_the_environment_and_of_flags_is_left_to_the_model() -> None:
    options = load(
        "[model]\nname = 'x'\na = '1'\n", {"VOXGATE_MODEL_B": "1"}, {"model.c": "1", "model.d": 1}
    ).model.options
    assert options == {"a": "1", "b": "1", "c": "1", "d": 1}
    assert [type(value) for value in options.values()] == [str, OptionText, OptionText, int]


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("12", 12),
        ("-1_000", -1000),
        ("0", 0),
        ("007", "007"),
        ("1" * 64, "1" * 64),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("nan", "nan"),
        ('["a", 1]', ["a", 1]),
        ('{"a": [1]}', {"a": [1]}),
        ("[a]", "[a]"),
        ("{", "{"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
        (" 1", " 1"),
    ],
)
def test_text_for_a_model_that_says_no_type(text: str, guess: object) -> None:
    found = OptionText(text).guess
    assert found == guess
    assert type(found) is type(guess)
