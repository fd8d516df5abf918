"""The settings as TOML."""

from __future__ import annotations

import datetime
import string
import tomllib
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.settings import load
from voxgate.config import SETTINGS, Config, ModelSettings, dump_toml
from voxgate.config.catalogue import SECTIONS
from voxgate.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0.5", "0.5"),
        ("true", "true"),
        ("007", '"007"'),
        ("a b", '"a b"'),
        ('["a", {"b": 1}]', '[\n    "a",\n    { b = 1 },\n]'),
        ("[null]", '"[null]"'),
        ('{"a": null}', '"{\\"a\\": null}"'),
    ],
)
def test_text_is_written_as_what_it_looks_like(text: str, written: str) -> None:
    assert f"\na = {written}\n" in dump_toml(load(overrides={"model": "x", "model.a": text}))


unicode_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


scalars: st.SearchStrategy[Any] = (
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | unicode_text
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
)


option_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode_text, inner, max_size=3),
    max_leaves=6,
)


identifiers = st.text(string.ascii_letters + "_", min_size=1, max_size=8).filter(lambda name: name != "name") | st.just(
    "größe"
)


def value_of(setting: Any) -> st.SearchStrategy[Any]:
    if setting.choices:
        values: st.SearchStrategy[Any] = st.sampled_from(setting.choices)
        values = values | st.just("a.b:C") if setting.or_attribute else values
    elif setting.kind is int:
        values = st.integers(setting.minimum, setting.maximum)
    elif setting.kind is float:
        values = st.floats(setting.minimum, setting.maximum)
    else:
        text = unicode_text if get_args(setting.type)[1].min_length is None else unicode_text.filter(bool)
        values = st.booleans() if setting.kind is bool else text
    return values | st.none() if setting.is_optional else values


# A synonym becomes the setting for which it stands.
all_values = st.fixed_dictionaries(
    {}, optional={key: value_of(setting) for key, setting in SETTINGS.items() if key != "inference.isolation"}
)


@given(all_values, st.dictionaries(identifiers, option_values, max_size=3))
def test_any_config_round_trips_through_toml(values: dict[str, Any], options: dict[str, Any]) -> None:
    name = values.pop("model.name", "x")
    values = {key: value for key, value in values.items() if not SETTINGS[key].is_secret}
    sections: dict[str, Any] = {}
    for key, value in values.items():
        section, _, setting = key.partition(".")
        sections.setdefault(section, {})[setting] = value
    kinds = SECTIONS
    config = Config(
        **{section: kinds[section](**given) for section, given in sections.items()},
        model=ModelSettings(name=name, options=options),
    )
    if (
        config.vad.negative_threshold > config.vad.threshold
        or config.turn.unfinished_threshold > config.turn.threshold
        or config.limits.min_sample_rate > config.limits.max_sample_rate
        or config.simple.min_chunk_ms > config.simple.max_chunk_s * 1000
        or (config.limits.redis_fails == "closed" and config.limits.redis_url is None)
    ):
        return
    text = dump_toml(config)
    tomllib.loads(text)
    assert load(text) == config
    assert dump_toml(config) == text
    assert dump_toml(load(text)) == text


@pytest.mark.parametrize("text", ["\x7f", "\x00\x1f\t\r\n", '"\\', "\u2028\U0001f600", "'''", '"""'])
def test_awkward_strings_round_trip(text: str) -> None:
    config = Config(model=ModelSettings(name=text, options={"a": text, "b": {text: [text]}}))
    assert load(dump_toml(config)) == config


def test_what_is_not_set_stands_as_a_comment() -> None:
    assert "\n# weights is not set\n" in dump_toml(Config())
    assert '\nweights = "a\\"b"\n' in dump_toml(load(overrides={"vad.weights": 'a"b'}))


def test_a_secret_is_never_shown() -> None:
    config = load(environ={"VOXGATE_AUTH_TOKENS": "s3cret,other"})
    assert config.auth.tokens == "s3cret,other"
    for text in (dump_toml(config), repr(config), repr(config.auth)):
        assert "s3cret" not in text
    assert "\n# tokens is set, and not shown\n" in dump_toml(config)
    for wrong in (["s3cret"], "s3cret\ud800", {"s3cret": 1}, 53):
        with pytest.raises(ConfigError, match=r"^auth\.tokens must be a string") as caught:
            load(overrides={"auth.tokens": wrong})
        assert "s3cret" not in str(caught.value)
        assert "53" not in str(caught.value)
