from __future__ import annotations

import argparse

import pytest

from voxgate.cli.set_option import add_set_option, settings_of
from voxgate.errors import ConfigError


def test_the_last_value_of_a_key_counts_and_may_contain_equal_signs():
    parser = argparse.ArgumentParser()
    add_set_option(parser, "a setting")
    assert parser.parse_args([]).set == []
    given = parser.parse_args(["--set", "model.a=1", "--set", "vad.threshold=", "--set", "model.a=b=c"])
    assert settings_of(given.set) == {"model.a": "b=c", "vad.threshold": ""}


def test_the_help_shows_the_section():
    parser = argparse.ArgumentParser()
    add_set_option(parser, "an argument of the model", "model.")
    assert "--set model.KEY=VALUE" in parser.format_help()


@pytest.mark.parametrize(
    ("text", "section", "expected"),
    [("model.a", "", "KEY=VALUE"), ("=1", "", "KEY=VALUE"), ("vad.threshold=1", "model.", "model.KEY=VALUE")],
)
def test_any_other_text_is_an_error(text, section, expected):
    with pytest.raises(ConfigError) as caught:
        settings_of([text], section)
    assert str(caught.value) == f"--set {text}: expected {expected}"
