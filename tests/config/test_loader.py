"""The sources of the settings, their priority, and the refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.settings import load
from voxgate.config import SETTINGS, Config, ModelSettings, load_config
from voxgate.config.catalogue import SECTIONS
from voxgate.errors import ConfigError


def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


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


def service_links(prefix: str, port: str = "80", protocol: str = "TCP") -> dict[str, str]:
    """What Kubernetes puts into every container for a Service."""
    address, url = "10.96.7.1", f"{protocol.lower()}://10.96.7.1:{port}"
    link = f"{prefix}_PORT_{port}_{protocol}"
    return {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": port,
        f"{prefix}_SERVICE_PORT_HTTP": port,
        f"{prefix}_PORT": url,
        link: url,
        f"{link}_PROTO": protocol.lower(),
        f"{link}_PORT": port,
        f"{link}_ADDR": address,
    }


def test_the_links_of_a_service_in_kubernetes_are_no_settings() -> None:
    assert load(environ=service_links("VOXGATE")) == Config()
    assert load(environ=service_links("VOXGATE_METRICS", "9100")) == Config()
    assert load(environ=service_links("VOXGATE_GPU_2", "53", "UDP")) == Config()
    assert load(environ={"VOXGATE_SERVICE_HOST": "fd00::1"}) == Config()
    assert load(environ={"VOXGATE_MODEL_SERVICE_HOST": "10.0.0.1"}).model.options == {"service_host": "10.0.0.1"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VOXGATE_PORT", "8080"),
        ("VOXGATE_SERVICE_HOST", "somewhere"),
        ("VOXGATE_SERVICE_PORT", "http"),
        ("VOXGATE_SERVICE_PROT", "80"),
        ("VOXGATE_PORT_HTTP_TCP", "tcp://10.0.0.1:80"),
        ("VOXGATE_METRICS_PORT", "http://10.0.0.1"),
        ("VOXGATE_SERVICE", "10.0.0.1"),
    ],
)
def test_what_only_looks_like_a_link_is_refused(variable: str, value: str) -> None:
    assert variable in refused(environ={variable: value})


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
    assert load(environ=environ).model == ModelSettings(name="dummy", options={"delay": "0.5", "on": "true"})
    flags = {"model": "x:y", "model.size": "3", "model.path": "a/b", "model.list": [1]}
    assert load(overrides=flags).model == ModelSettings(name="x:y", options={"size": "3", "path": "a/b", "list": [1]})


def test_arguments_are_kept_for_the_same_model_and_dropped_for_another() -> None:
    text = '{"model": {"delay": 0.5, "jitter": 0.1}}'
    same = load(text, {"VOXGATE_MODEL": "dummy", "VOXGATE_MODEL_DELAY": "2"}, suffix=".json")
    assert same.model == ModelSettings(name="dummy", options={"delay": "2", "jitter": 0.1})
    other = load(text, {"VOXGATE_MODEL_DELAY": "2"}, {"model": "features", "model.a": 1}, suffix=".json")
    assert other.model == ModelSettings(name="features", options={"a": 1})


def test_options_need_not_stand_where_the_name_stands() -> None:
    environ = {"VOXGATE_MODEL_DELAY": "2"}
    expected = ModelSettings(name="dummy", options={"delay": "2"})
    assert load(environ=environ, overrides={"model": "dummy"}).model == expected
    assert load(environ=environ).model == ModelSettings(options={"delay": "2"})  # the default refuses it
    named_later = load("[model]\npath = 'x'\n", {"VOXGATE_MODEL": "mine"}).model
    assert named_later == ModelSettings(name="mine", options={"path": "x"})


def test_options_that_are_dropped_are_named() -> None:
    notices: list[str] = []
    Path("some.toml").write_text("[model]\nname = 'dummy'\ndelay = 1\n")
    environ = {"VOXGATE_MODEL_JITTER": "2"}
    load_config("some.toml", environ, {"model": "dummy"}, notices.append)
    assert notices == []
    load_config("some.toml", environ, {"model": "features"}, notices.append)
    assert notices == [
        'options of the model "dummy" are not used, because flag model names "features": '
        "delay (file some.toml), jitter (environment VOXGATE_MODEL_JITTER)"
    ]
    load_config("some.toml", {"VOXGATE_MODEL": "features"}, {"model": "dummy"}, notices.append)
    assert notices[1:] == [
        'options of the model "dummy" are not used, because environment VOXGATE_MODEL names "features": '
        "delay (file some.toml)"
    ]


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
    (
        None,
        {"VOXGATE_LIMITS_REDIS_FAILS": "closed"},
        {},
        "limits.redis_fails is closed: expected limits.redis_url too (environment VOXGATE_LIMITS_REDIS_FAILS)",
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


def test_a_threshold_alone_takes_the_negative_one_down_with_it() -> None:
    lowered = load(overrides={"vad.threshold": 0.2}).vad
    assert (lowered.threshold, lowered.negative_threshold) == (0.2, 0.2)
    raised = load(overrides={"vad.threshold": 0.8}).vad
    assert (raised.threshold, raised.negative_threshold) == (0.8, 0.35)


def test_a_synonym_sets_the_setting_and_must_agree_with_it() -> None:
    old = load_config(environ={}, overrides={"inference.isolation": "process"})
    assert old == load_config(environ={}, overrides={"inference.engine": "process"})
    assert (old.inference.engine, old.inference.isolation) == ("process", None)
    both = {"VOXGATE_INFERENCE_ISOLATION": "threads"}
    assert load_config(environ=both, overrides={"inference.engine": "threads"}).inference.engine == "threads"
    with pytest.raises(
        ConfigError,
        match=r"inference.engine and its older name inference.isolation must agree, got async and threads"
        r" \(.*; environment VOXGATE_INFERENCE_ISOLATION\)",
    ):
        load_config(environ=both, overrides={"inference.engine": "async"})
