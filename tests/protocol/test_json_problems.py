"""What is wrong with a JSON message, and what a text shows of it."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from voxgate.protocol.json_problems import describe, explain, explain_malformed, value_at


@pytest.mark.parametrize(
    ("value", "path", "text"),
    [
        (True, "a", "bool true"),
        (7, "a", "int 7"),
        (0.5, "a", "float 0.5"),
        ("hi", "a", 'str "hi"'),
        (None, "a", "null"),
        ([1], "a", "array"),
        ({"a": 1}, "a", "object"),
        ("secret", "auth.token", "str"),
        (UNSET, "a", "something else"),
    ],
)
def test_a_value_is_described_by_its_type_and_itself_unless_it_is_large_or_a_secret(value, path, text):
    assert describe(value, path) == text


def test_a_value_is_found_by_its_path():
    text = '{"format": {"channels": 2}, "list": [1]}'
    assert value_at(text, "format.channels") == 2
    assert value_at(text, "") == {"format": {"channels": 2}, "list": [1]}
    assert value_at(text, "format.nothing") is UNSET
    assert value_at(text, "list.0") is UNSET
    assert value_at("{", "format") is UNSET


def test_a_problem_says_what_was_expected_and_what_came():
    text = '{"format": {"channels": "two"}}'
    problem = "Expected `int`, got `str` - at `$.format.channels`"
    assert explain(problem, text) == 'format.channels: expected int, got str "two"'
    assert explain("Object missing required field `format`", "{}") == "format: expected object, got nothing"
    assert explain_malformed("Input data was truncated") == "message: expected JSON, got text that ends too early"
