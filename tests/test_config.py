from __future__ import annotations

import datetime
import json
import string
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.config import SETTINGS, Config, ModelSettings, dump_toml, load_config, loader, reference
from voxgate.config.settings import SECTIONS
from voxgate.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    suffix: str = ".toml",
) -> Config:
    path = None
    if text is not None:
        path = Path(f"some{suffix}")
        path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {}, overrides)


def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------- defaults


def test_the_defaults_are_those_of_the_contract() -> None:
    config = load()
    assert config == Config()
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    limits = config.limits
    assert (limits.channels, limits.min_sample_rate, limits.max_sample_rate) == (8, 4000, 192_000)
    assert (limits.message_bytes, limits.invalid_messages) == (2**20, 8)
    assert (limits.start_timeout_s, limits.idle_timeout_s) == (10.0, 60.0)
    assert config.vad.tunables() == {
        "threshold": 0.5,
        "negative_threshold": 0.35,
        "prefix_padding_ms": 600,
        "suffix_padding_ms": 0,
        "silence_duration_ms": 600,
        "min_speech_ms": 90,
        "max_segment_s": 30.0,
        "interim_interval_ms": 500,
    }
    assert (config.vad.detector, config.vad.weights) == ("silero", None)
    assert config.model == ModelSettings(name="auto", options={})


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_every_default_is_allowed_and_described(setting: Any) -> None:
    if not setting.optional:
        assert loader._convert(setting, setting.default, "", is_text=False) == setting.default
        assert type(setting.default) is setting.kind
    assert setting.about.text.endswith(".")
    assert setting.kind in (bool, str) or setting.about.minimum is not None


def test_settings_are_frozen() -> None:
    config = load()
    with pytest.raises(AttributeError):
        config.server.port = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.server = config.server  # type: ignore[misc]


# ----------------------------------------------------------------------------------------------------------- sources


def test_toml_and_json_are_the_same() -> None:
    toml = load('[server]\nport = 9000\n[vad]\nthreshold = 0.6\nweights = "w.bin"\n[inference]\nwarm_up = false\n')
    plain = {"server": {"port": 9000}, "vad": {"threshold": 0.6, "weights": "w.bin"}, "inference": {"warm_up": False}}
    assert load(json.dumps(plain), suffix=".json") == toml
    assert (toml.server.port, toml.vad.threshold, toml.vad.weights) == (9000, 0.6, "w.bin")
    assert not toml.inference.warm_up


def test_a_byte_order_mark_is_no_trouble() -> None:
    assert load("\ufeff[server]\nport = 9000\n").server.port == 9000
    assert load('\ufeff{"server": {"port": 9000}}', suffix=".json").server.port == 9000


def test_rising_priority() -> None:
    text = "[server]\nport = 1\nhost = 'file'\n[limits]\nstreams = 5\nchannels = 2\n"
    environ = {"VOXGATE_SERVER_PORT": "2", "VOXGATE_LIMITS_STREAMS": "6", "HOME": "/", "VOXGATEWAY": "x"}
    config = load(text, environ, {"server.port": 3, "server.log_level": None})
    assert (config.server.port, config.limits.streams, config.limits.channels) == (3, 6, 2)
    assert (config.server.host, config.server.log_level) == ("file", "info")


def test_the_file_in_the_current_directory(empty_directory: Path) -> None:
    (empty_directory / "voxgate.toml").write_text("[server]\nport = 7\n")
    (empty_directory / "other.json").write_text('{"server": {"port": 8}}')
    assert load_config(environ={}).server.port == 7
    assert load_config(environ={"VOXGATE_CONFIG": ""}).server.port == 7
    assert load_config(environ={"VOXGATE_CONFIG": "other.json"}).server.port == 8
    assert load_config("voxgate.toml", {"VOXGATE_CONFIG": "other.json"}).server.port == 7


def test_the_environment_is_the_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_LIMITS_BUFFERED_AUDIO_S", "12.5")
    assert load_config().limits.buffered_audio_s == 12.5


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("VOXGATE_SERVER_PORT", " 0 ", 0),
        ("VOXGATE_LIMITS_MESSAGE_BYTES", "2_000_000", 2_000_000),
        ("VOXGATE_VAD_THRESHOLD", ".75", 0.75),
        ("VOXGATE_VAD_NEGATIVE_THRESHOLD", "1e-3", 0.001),
        ("VOXGATE_VAD_MAX_SEGMENT_S", "12", 12.0),
        ("VOXGATE_INFERENCE_WARM_UP", "No", False),
        ("VOXGATE_INFERENCE_WARM_UP", "1", True),
        ("VOXGATE_INFERENCE_WARM_UP", "off", False),
        ("VOXGATE_SERVER_HOST", "::1", "::1"),
        ("VOXGATE_VAD_WEIGHTS", "", None),
        ("VOXGATE_VAD_WEIGHTS", "12", "12"),
        ("VOXGATE_VAD_DETECTOR", "my_pkg.vad:Best", "my_pkg.vad:Best"),
    ],
)
def test_environment_strings_are_converted_by_type(variable: str, text: str, value: object) -> None:
    section, _, name = variable.removeprefix("VOXGATE_").lower().partition("_")
    for config in (load(environ={variable: text}), load(overrides={f"{section}.{name}": text})):
        actual = getattr(getattr(config, section), name)
        assert actual == value
        assert type(actual) is type(value)


def test_reserved_variables_are_no_settings() -> None:
    assert load(environ={"VOXGATE_ISA": "portable", "VOXGATE_BUILD": "debug", "VOXGATE_TOKEN": "x"}) == Config()


# ------------------------------------------------------------------------------------------------------------- model


def test_the_original_s_config_json() -> None:
    knobs = {"delay": 0.5, "constant_factor": 0.3, "jitter": 0.2, "failure_rate": 0.01, "panic_rate": 0.0}
    config = load(json.dumps({"model": knobs}), suffix=".json")
    assert config == Config(model=ModelSettings(name="dummy", options=knobs))


def test_model_section() -> None:
    assert load('[model]\nname = "dummy"\ndelay = 1\n').model == ModelSettings(name="dummy", options={"delay": 1})
    assert load('model = "dummy"').model == ModelSettings(name="dummy")
    assert load("[model]\n").model == ModelSettings()
    assert load('{"model": "a.b:C"}', suffix=".json").model == ModelSettings(name="a.b:C")
    nested = load('[model]\nname = "x"\n[model.deep]\nsize = [1, {a = 2}]\n').model
    assert nested.options == {"deep": {"size": [1, {"a": 2}]}}


def test_model_of_the_environment_and_of_flags() -> None:
    assert load(environ={"VOXGATE_MODEL": "dummy"}).model == load(environ={"VOXGATE_MODEL_NAME": "dummy"}).model
    environ = {"VOXGATE_MODEL": "dummy", "VOXGATE_MODEL_DELAY": "0.5", "VOXGATE_MODEL_ON": "true"}
    assert load(environ=environ).model == ModelSettings(name="dummy", options={"delay": 0.5, "on": True})
    flags = {"model": "x:y", "model.size": "3", "model.path": "a/b", "model.list": [1]}
    assert load(overrides=flags).model == ModelSettings(name="x:y", options={"size": 3, "path": "a/b", "list": [1]})
    assert type(load(overrides={"model.size": "3"}).model.options["size"]) is int


def test_arguments_are_kept_for_the_same_model_and_dropped_for_another() -> None:
    text = '{"model": {"delay": 0.5, "jitter": 0.1}}'
    same = load(text, {"VOXGATE_MODEL": "dummy", "VOXGATE_MODEL_DELAY": "2"}, suffix=".json")
    assert same.model == ModelSettings(name="dummy", options={"delay": 2, "jitter": 0.1})
    other = load(text, {"VOXGATE_MODEL_DELAY": "2"}, {"model": "features", "model.a": 1}, suffix=".json")
    assert other.model == ModelSettings(name="features", options={"a": 1})


# -------------------------------------------------------------------------------------------------------- refusals


def test_by_default_nothing_waits_for_company_and_every_queue_is_bounded() -> None:
    inference = load().inference
    assert (inference.isolation, inference.threads, inference.processes) == ("threads", 0, 0)
    assert (inference.max_batch_size, inference.max_batch_seconds, inference.batch_window_ms) == (16, 120.0, 0.0)
    assert (inference.max_jobs, inference.max_seconds) == (4096, 3600.0)
    assert (inference.stream_jobs, inference.stream_seconds) == (512, 600.0)
    assert (inference.deadline_s, inference.restart_backoff_s) == (60.0, 0.1)


SECTION_NAMES = ", ".join(SECTIONS)
SERVER = ", ".join(key.partition(".")[2] for key in SETTINGS if key.startswith("server."))
REFUSED: list[tuple[str | None, dict[str, str], dict[str, Any], str]] = [
    # unknown keys
    ("[sever]\n", {}, {}, f"sever: unknown section (did you mean server?); sections: {SECTION_NAMES} (file some.toml)"),
    (
        "port = 1",
        {},
        {},
        f"port: unknown section (did you mean server.port?); sections: {SECTION_NAMES} (file some.toml)",
    ),
    ("zzz = 1", {}, {}, f"zzz: unknown section; sections: {SECTION_NAMES} (file some.toml)"),
    (
        "[server]\nprot = 1",
        {},
        {},
        f"server.prot: unknown setting (did you mean server.port?); settings in server: {SERVER} (file some.toml)",
    ),
    (
        "[server]\nthreads = 1",
        {},
        {},
        "server.threads: unknown setting (did you mean inference.threads?); "
        f"settings in server: {SERVER} (file some.toml)",
    ),
    (
        "[server]\nqqq = 1",
        {},
        {},
        f"server.qqq: unknown setting; settings in server: {SERVER} (file some.toml)",
    ),
    (
        None,
        {"VOXGATE_SERVER_PROT": "1"},
        {},
        f"server.prot: unknown setting (did you mean server.port?); settings in server: {SERVER} "
        "(environment VOXGATE_SERVER_PROT)",
    ),
    (
        None,
        {"VOXGATE_CONFG": "1"},
        {},
        "VOXGATE_CONFG: unknown variable (did you mean VOXGATE_CONFIG?); settings are VOXGATE_<SECTION>_<KEY>, "
        f"sections: {SECTION_NAMES} (environment VOXGATE_CONFG)",
    ),
    (
        None,
        {"VOXGATE_PORT": "1"},
        {},
        "VOXGATE_PORT: unknown variable (did you mean VOXGATE_SERVER_PORT?); settings are VOXGATE_<SECTION>_<KEY>, "
        f"sections: {SECTION_NAMES} (environment VOXGATE_PORT)",
    ),
    (
        None,
        {},
        {"server.prot": 1},
        f"server.prot: unknown setting (did you mean server.port?); settings in server: {SERVER} (flag server.prot)",
    ),
    (
        None,
        {},
        {"port": 1},
        f"port: unknown section (did you mean server.port?); sections: {SECTION_NAMES} (flag port)",
    ),
    # bad values
    ("[server]\nport = 65536", {}, {}, "server.port must be an integer 0..65535, got 65536 (file some.toml)"),
    ("[server]\nport = -1", {}, {}, "server.port must be an integer 0..65535, got -1 (file some.toml)"),
    ("[server]\nport = 80.0", {}, {}, "server.port must be an integer 0..65535, got 80.0 (file some.toml)"),
    ("[server]\nport = true", {}, {}, "server.port must be an integer 0..65535, got true (file some.toml)"),
    ('[server]\nport = "80"', {}, {}, 'server.port must be an integer 0..65535, got "80" (file some.toml)'),
    ("[server]\nport = [80]", {}, {}, "server.port must be an integer 0..65535, got a list (file some.toml)"),
    ("[server]\nport = {}", {}, {}, "server.port must be an integer 0..65535, got a table (file some.toml)"),
    ("[server]\nhost = ''", {}, {}, 'server.host must be a string, got "" (file some.toml)'),
    ("[server]\nhost = 5", {}, {}, "server.host must be a string, got 5 (file some.toml)"),
    ("[vad]\nthreshold = 1", {}, {}, "vad.threshold must be a number 0.01..0.99, got 1 (file some.toml)"),
    ("[vad]\nthreshold = nan", {}, {}, "vad.threshold must be a number 0.01..0.99, got NaN (file some.toml)"),
    (
        "[limits]\nidle_timeout_s = inf",
        {},
        {},
        "limits.idle_timeout_s must be a number 0.1..86400, got Infinity (file some.toml)",
    ),
    ("[vad]\nthreshold = false", {}, {}, "vad.threshold must be a number 0.01..0.99, got false (file some.toml)"),
    ("[inference]\nwarm_up = 1", {}, {}, "inference.warm_up must be true or false, got 1 (file some.toml)"),
    (
        "[inference]\nisolation = 'processes'",
        {},
        {},
        'inference.isolation must be threads or process, got "processes" (did you mean process?) (file some.toml)',
    ),
    (
        "[inference]\nbatch_window_ms = -1",
        {},
        {},
        "inference.batch_window_ms must be a number 0..10000, got -1 (file some.toml)",
    ),
    (
        None,
        {"VOXGATE_INFERENCE_DEADLINE_S": "0"},
        {},
        'inference.deadline_s must be a number 0.1..86400, got "0" (environment VOXGATE_INFERENCE_DEADLINE_S)',
    ),
    (
        "[inference]\nmax_batch_seconds = 0",
        {},
        {},
        "inference.max_batch_seconds must be a number 0.1..86400, got 0 (file some.toml)",
    ),
    *(
        (f"[inference]\n{name} = 0", {}, {}, f"inference.{name} must be {what}, got 0 (file some.toml)")
        for name, what in (
            ("max_jobs", "an integer 1..1000000"),
            ("stream_jobs", "an integer 1..1000000"),
            ("max_seconds", "a number 1..10000000"),
            ("stream_seconds", "a number 1..10000000"),
            ("restart_backoff_s", "a number 0.01..60"),
        )
    ),
    (
        "[server]\nlog_level = 'INFO'",
        {},
        {},
        'server.log_level must be debug, info, warning, error or critical, got "INFO" (file some.toml)',
    ),
    (
        "[audio]\nresampler = 'polyfase'",
        {},
        {},
        'audio.resampler must be polyphase or soxr, got "polyfase" (did you mean polyphase?) (file some.toml)',
    ),
    (
        "[vad]\ndetector = 'webrtc'",
        {},
        {},
        'vad.detector must be silero, energy or pkg.module:attr, got "webrtc" (file some.toml)',
    ),
    ("server = 3", {}, {}, "server: expected a table of settings, got 3 (file some.toml)"),
    ("model = 3", {}, {}, "model: expected a table of settings, got 3 (file some.toml)"),
    (
        None,
        {"VOXGATE_SERVER_PORT": "80a"},
        {},
        'server.port must be an integer 0..65535, got "80a" (environment VOXGATE_SERVER_PORT)',
    ),
    (
        None,
        {"VOXGATE_SERVER_PORT": ""},
        {},
        'server.port must be an integer 0..65535, got "" (environment VOXGATE_SERVER_PORT)',
    ),
    (
        None,
        {"VOXGATE_SERVER_PORT": "1.0"},
        {},
        'server.port must be an integer 0..65535, got "1.0" (environment VOXGATE_SERVER_PORT)',
    ),
    (
        None,
        {"VOXGATE_VAD_THRESHOLD": "nan"},
        {},
        'vad.threshold must be a number 0.01..0.99, got "nan" (environment VOXGATE_VAD_THRESHOLD)',
    ),
    (
        None,
        {"VOXGATE_INFERENCE_WARM_UP": "maybe"},
        {},
        'inference.warm_up must be true or false, got "maybe" (environment VOXGATE_INFERENCE_WARM_UP)',
    ),
    (None, {}, {"server.port": "x"}, 'server.port must be an integer 0..65535, got "x" (flag server.port)'),
    (
        None,
        {},
        {"server.port": 10**5000},
        "server.port must be an integer 0..65535, got an integer of 16610 bits (flag server.port)",
    ),
    # settings that belong together
    (
        "[vad]\nthreshold = 0.3\nnegative_threshold = 0.35",
        {},
        {},
        "vad.negative_threshold must be at most vad.threshold (0.3), got 0.35 (file some.toml)",
    ),
    (
        "[limits]\nmin_sample_rate = 48000",
        {"VOXGATE_LIMITS_MAX_SAMPLE_RATE": "16000"},
        {},
        "limits.min_sample_rate must be at most limits.max_sample_rate (16000), got 48000 "
        "(file some.toml; environment VOXGATE_LIMITS_MAX_SAMPLE_RATE)",
    ),
    (
        "[simple]\nmin_chunk_ms = 2000\nmax_chunk_s = 1",
        {},
        {},
        "simple.min_chunk_ms must be at most simple.max_chunk_s (1), got 2000 (file some.toml)",
    ),
    # the model
    ("[model]\nname = 3", {}, {}, "model.name must be a string, got 3 (file some.toml)"),
    (None, {"VOXGATE_MODEL": ""}, {}, 'model.name must be a string, got "" (environment VOXGATE_MODEL)'),
    (
        "[model]\npath = 'x'\ndelay = 1",
        {},
        {},
        "model.name: expected the name of the model that delay, path belong to, got nothing (file some.toml)",
    ),
    (
        None,
        {"VOXGATE_MODEL": "a", "VOXGATE_MODEL_NAME": "b"},
        {},
        "model.name: expected once, got several (environment VOXGATE_MODEL; environment VOXGATE_MODEL_NAME)",
    ),
    (
        None,
        {},
        {"model.a.b": 1},
        'model.a.b: expected the name of a constructor argument, got "a.b" (flag model.a.b)',
    ),
    (
        None,
        {},
        {"model.a": [None]},
        "model.a[0]: expected a value, got null; leave the key out instead (flag model.a)",
    ),
    (
        None,
        {},
        {"model.a": {"b": {3: 1}}},
        "model.a.b: expected keys that are strings, got 3 (flag model.a)",
    ),
    (
        None,
        {},
        {"model.a": "\udcff"},
        "model.a: expected a string of Unicode characters, got '\\udcff' (flag model.a)",
    ),
    (
        None,
        {},
        {"model.a": {"b": object}},
        "model.a.b: expected a string, number, boolean, date, list or table, got type (flag model.a)",
    ),
]


@pytest.mark.parametrize(("text", "environ", "overrides", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusal_names_key_value_allowed_and_source(
    text: str | None, environ: dict[str, str], overrides: dict[str, Any], message: str
) -> None:
    assert refused(text, environ, overrides) == message


RANGED = {key: setting for key, setting in SETTINGS.items() if setting.about.minimum is not None}


@pytest.mark.parametrize("setting", RANGED.values(), ids=RANGED.keys())
def test_every_range_is_kept_and_both_ends_belong_to_it(setting: Any) -> None:
    about = setting.about
    convert = loader._convert
    for end, step in ((about.minimum, -1), (about.maximum, 1)):
        value = setting.kind(end)
        assert convert(setting, value, "here", is_text=False) == value
        outside = value + step if setting.kind is int else value + step * 1e-6
        with pytest.raises(ConfigError, match=rf"^{setting.key} must be an? \w+ .*\.\..*, got .* \(here\)$"):
            convert(setting, outside, "here", is_text=False)


def test_files_that_cannot_be_read(empty_directory: Path) -> None:
    assert refused("server: 1", suffix=".yaml") == "some.yaml: expected a file that ends in .toml or .json"
    assert refused("[server\n").startswith("some.toml: expected TOML, got Expected ']'")
    assert refused("{", suffix=".json").startswith("some.json: expected JSON, got Expecting property name")
    assert refused("[" * 200_000, suffix=".json").startswith("some.json: expected JSON, got ")
    assert refused("[]", suffix=".json") == "some.json: expected an object of sections, got a list"
    assert refused('{"server": {"port": 1, "port": 2}}', suffix=".json") == (
        "port: expected once, got several (file some.json)"
    )
    assert refused('{"vad": {"weights": "\\ud800"}}', suffix=".json") == (
        "vad.weights must be a string, got '\\ud800' (file some.json)"
    )
    (empty_directory / "bad.toml").write_bytes(b"[server]\nhost = '\xff'")
    with pytest.raises(ConfigError, match=r"^bad\.toml: expected UTF-8, got invalid start byte at byte 17$"):
        load_config("bad.toml", {})
    with pytest.raises(ConfigError, match=r"^none\.toml: cannot be read: No such file or directory$"):
        load_config("none.toml", {})
    with pytest.raises(ConfigError, match=r"^none\.json: cannot be read: No such file or directory$"):
        load_config(environ={"VOXGATE_CONFIG": "none.json"})


# -------------------------------------------------------------------------------------------------------- round trip

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
    about = setting.about
    if about.choices:
        values: st.SearchStrategy[Any] = st.sampled_from(about.choices)
        values = values | st.just("a.b:C") if about.or_attribute else values
    elif setting.kind is int:
        values = st.integers(about.minimum, about.maximum)
    elif setting.kind is float:
        values = st.floats(about.minimum, about.maximum)
    else:
        text = unicode_text if about.empty else unicode_text.filter(bool)
        values = st.booleans() if setting.kind is bool else text
    return values | st.none() if setting.optional else values


all_values = st.fixed_dictionaries({}, optional={key: value_of(setting) for key, setting in SETTINGS.items()})


@given(all_values, st.dictionaries(identifiers, option_values, max_size=3))
def test_any_config_round_trips_through_toml(values: dict[str, Any], options: dict[str, Any]) -> None:
    name = values.pop("model.name", "x")
    values = {key: value for key, value in values.items() if not SETTINGS[key].about.secret}
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
        or config.limits.min_sample_rate > config.limits.max_sample_rate
        or config.simple.min_chunk_ms > config.simple.max_chunk_s * 1000
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


# ---------------------------------------------------------------------------------------------------------- reference


def test_the_committed_reference_is_current() -> None:
    committed = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == reference(), "run: python -m voxgate.config > docs/configuration.md"


def test_the_reference_names_every_setting() -> None:
    text = reference()
    for setting in SETTINGS.values():
        section, _, name = setting.key.partition(".")
        assert f"\n## {section}\n" in text
        assert f"\n| `{name}` | " in text
    defaults = text.partition("```toml\n")[2].partition("```")[0]
    assert load(defaults) == Config()


def test_every_field_of_every_section_is_a_setting() -> None:
    fields = {f"{section}.{field}" for section, kind in SECTIONS.items() for field in kind.__struct_fields__}
    assert fields - {"model.options"} == set(SETTINGS)
    assert {field.name for field in msgspec.structs.fields(Config)} == set(SECTIONS)


def test_a_threshold_alone_takes_the_negative_one_down_with_it() -> None:
    lowered = load(overrides={"vad.threshold": 0.2}).vad
    assert (lowered.threshold, lowered.negative_threshold) == (0.2, 0.2)
    raised = load(overrides={"vad.threshold": 0.8}).vad
    assert (raised.threshold, raised.negative_threshold) == (0.8, 0.35)
