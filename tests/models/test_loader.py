from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxgate.errors import ConfigError, ModelLoadError
from voxgate.models.base import Model
from voxgate.models.dummy import Dummy
from voxgate.models.features import Features
from voxgate.models.loader import available_models, load_model

AUDIO = np.zeros(5, np.float32)

BUILT_IN = ["dummy", "faster-whisper", "features", "moonshine", "onnx", "openai", "pitch", "pocketsphinx", "wakeword"]

Write = Callable[[str], str]

_serial = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes source into a fresh module of the current directory and gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)

    def write(source: str) -> str:
        name = f"written_{next(_serial)}"
        (tmp_path / f"{name}.py").write_text(f"import voxgate\n{source}\n")
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("written_"):
            del sys.modules[name]


def refusal(spec: str, options: dict[str, Any] | None = None) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load_model(spec, options)
    assert str(caught.value).startswith((f"model {spec!r}: ", f"unknown model {spec!r}: "))
    return str(caught.value)


# --- names ---


def test_built_in_names_need_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints())
    assert list(available_models()) == BUILT_IN
    assert isinstance(load_model("features"), Features)
    assert isinstance(load_model("dummy", {}), Dummy)


def entry_points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    def fake(group: str) -> list[metadata.EntryPoint]:
        assert group == "voxgate.models"
        return [metadata.EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr(metadata, "entry_points", fake)


def test_entry_points_of_other_packages(monkeypatch: pytest.MonkeyPatch, module: Write) -> None:
    name = module("class M(voxgate.Model):\n def infer(self, audio): return {}")
    entry_points(monkeypatch, mine=f"{name}:M", dummy=f"{name}:M")
    sys.path.insert(0, str(Path.cwd()))
    assert list(available_models()) == sorted([*BUILT_IN, "mine"])
    assert type(load_model("mine")).__name__ == "M"
    assert isinstance(load_model("dummy"), Dummy)  # Nobody takes a name of ours.


def test_name_with_argument(monkeypatch: pytest.MonkeyPatch, module: Write) -> None:
    name = module(
        "class M(voxgate.Model):\n"
        " def __init__(self, path, gain=1): self.given = (path, gain)\n"
        " def infer(self, audio): return {}"
    )
    entry_points(monkeypatch, mine=f"{name}:M")
    sys.path.insert(0, str(Path.cwd()))
    assert load_model("mine:a/b:c.onnx", {"gain": 2}).given == ("a/b:c.onnx", 2)  # type: ignore[attr-defined]
    assert "'path' is given after the colon already" in refusal("mine:x", {"path": "y"})
    assert "'path' is required and missing" in refusal("mine")
    assert "expected something after the colon" in refusal("mine:")
    assert "one of gain; did you mean 'gain'?" in refusal("mine:x", {"gian": 1})


def test_a_name_that_takes_no_argument() -> None:
    assert "expected nothing after the colon, but got 'x'" in refusal("dummy:x")


def test_an_unknown_name_gets_those_which_exist_and_the_nearest() -> None:
    text = refusal("featuers")
    assert f"expected one of {', '.join(BUILT_IN)}" in text
    assert "'pkg.module:attribute'" in text
    assert text.endswith("did you mean 'features'?")
    assert "did you mean" not in refusal("zzz")
    refusal("")


# --- options ---


def test_options_reach_the_constructor() -> None:
    model = load_model("dummy", {"delay": 0, "seed": 3})
    assert isinstance(model, Dummy)
    assert model.delay == 0.0


def test_an_unknown_option_gets_those_allowed_and_the_nearest() -> None:
    text = refusal("dummy", {"dealy": 1})
    assert "unknown option 'dealy': expected one of delay, constant_factor, jitter" in text
    assert text.endswith("did you mean 'delay'?")
    assert "unknown option 'x': expected no options" in refusal("features", {"x": 1})


def test_a_bad_value_is_said_in_the_words_of_the_model() -> None:
    assert refusal("dummy", {"failure_rate": 2}) == "model 'dummy': failure_rate must be within 0..1, not 2"


def test_a_constructor_that_takes_anything(module: Write) -> None:
    name = module(
        "class M(voxgate.Model):\n"
        " def __init__(self, **options): self.options = options\n"
        " def infer(self, audio): return {}"
    )
    assert load_model(f"{name}:M", {"a": 1}).options == {"a": 1}  # type: ignore[attr-defined]


# --- things to serve ---


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        ("class X(voxgate.Model):\n def infer(self, audio): return {'n': len(audio)}", {}, {"n": 5}),
        ("class M(voxgate.Model):\n def infer(self, audio): return {'n': len(audio)}\nX = M()", {}, {"n": 5}),
        ("class N:\n class M(voxgate.Model):\n  def infer(self, audio): return {'n': 1}\nX = N.M", {}, {"n": 1}),
        ("def X(audio): return {'n': len(audio)}", {}, {"n": 5}),
        ("def X(audio, gain=1): return {'n': gain * len(audio)}", {"gain": 3}, {"n": 15}),
        ("def X(audio, *, gain): return {'n': gain}", {"gain": 3}, {"n": 3}),
        ("X = lambda audio: {'n': len(audio)}", {}, {"n": 5}),
        ("def X(*args): return {'n': len(args)}", {}, {"n": 1}),
        ("class F:\n def __call__(self, audio): return {'n': len(audio)}\nX = F()", {}, {"n": 5}),
        (
            "class X:\n def __init__(self, gain=1): self.gain = gain\n"
            " def __call__(self, audio): return {'n': self.gain}",
            {"gain": 4},
            {"n": 4},
        ),
        (
            "class M(voxgate.Model):\n def __init__(self, n): self.n = n\n"
            " def infer(self, audio): return {'n': self.n}\n"
            "def X(n=7): return M(n)",
            {},
            {"n": 7},
        ),
        (
            "class M(voxgate.Model):\n def __init__(self, n): self.n = n\n"
            " def infer(self, audio): return {'n': self.n}\n"
            "def X(n): return M(n)",
            {"n": 8},
            {"n": 8},
        ),
        ("def X(gain=2): return lambda audio: {'n': gain * len(audio)}", {"gain": 3}, {"n": 15}),
        ("def X(): return lambda audio: {'n': len(audio)}", {}, {"n": 5}),
        ("import functools\ndef f(gain, audio): return {'n': gain}\nX = functools.partial(f, 9)", {}, {"n": 9}),
    ],
)
def test_what_can_be_served(module: Write, source: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    model = load_model(f"{module(source)}:X", options)
    assert isinstance(model, Model)
    assert model.infer(AUDIO) == expected


def test_dots_reach_into_classes(module: Write) -> None:
    name = module("class N:\n class M(voxgate.Model):\n  def infer(self, audio): return {}")
    assert type(load_model(f"{name}:N.M")).__name__ == "M"


def test_a_function_may_carry_what_a_model_has(module: Write) -> None:
    name = module("def f(audio): return {}\nf.sample_rate = 8000\nf.threads = 3\nf.holds_gil = True")
    model = load_model(f"{name}:f")
    assert (model.sample_rate, model.threads, model.holds_gil, model.name) == (8000, 3, True, "f")


def test_a_model_of_steps_alone_is_a_model(module: Write) -> None:
    assert load_model(
        f"{module('class S(voxgate.Model):' + chr(10) + ' def step(self, audio, state): pass')}:S"
    ).stateful


def test_the_current_directory_is_searched_first_and_once(module: Write) -> None:
    name = module("def f(audio): return {}")
    load_model(f"{name}:f")
    load_model(f"{name}:f")
    assert sys.path[0] == str(Path.cwd())
    assert sys.path.count(sys.path[0]) == 1


def test_a_name_alone_leaves_the_path_alone(module: Write) -> None:
    before = list(sys.path)
    load_model("dummy")
    assert sys.path == before


@pytest.mark.parametrize(
    "source",
    [
        "async def X(audio): return {}",
        "async def X(audio): yield {}",
        "class X(voxgate.Model):\n async def infer(self, audio): return {}",
        "class X(voxgate.Model):\n async def infer(self, audio): yield {}\n async def step(self, audio, state): pass",
        "class F:\n async def __call__(self, audio): return {}\nX = F()",
    ],
)
def test_coroutines_are_asynchronous(module: Write, source: str) -> None:
    assert load_model(f"{module(source)}:X").asynchronous


@pytest.mark.parametrize(
    "source", ["def X(audio): yield {}", "class X(voxgate.Model):\n def infer(self, audio): return {}"]
)
def test_plain_functions_are_not(module: Write, source: str) -> None:
    assert not load_model(f"{module(source)}:X").asynchronous


# --- things that go wrong ---


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("Xs = 1", {}, "has no attribute 'X'; did you mean 'Xs'?"),
        ("X = 1", {}, "expected a voxgate.Model, a function f(audio) or a factory, but it is of type 'int'"),
        ("class X(voxgate.Model): pass", {}, "expected X to define infer(self, audio)"),
        (
            "class X(voxgate.Model):\n async def infer(self, audio): pass\n def step(self, audio, state): pass",
            {},
            "expected all calls of X to be async def, or none, but infer is and step is not",
        ),
        (
            "class X(voxgate.Model):\n def infer(self, audio): pass\n async def infer_batch(self, batch): pass",
            {},
            "but infer_batch is and infer is not: it would block the event loop",
        ),
        (
            "class X(voxgate.Model):\n def infer(self, audio): pass\n def infer_batch(self, batch): yield",
            {},
            "expected X.infer_batch to return its result, but it is a generator; only infer may yield",
        ),
        (
            "class X(voxgate.Model):\n def infer(self, audio): pass\n async def close(self): pass",
            {},
            "expected X.close to be a plain method, like infer, but it is async def",
        ),
        (
            "class X(voxgate.Model):\n async def step(self, audio, state): yield",
            {},
            "expected X.step to return its result, but it is a generator",
        ),
        ("class X: pass", {}, "made an object of type 'X'; derive the class from voxgate.Model"),
        (
            "def X(): return 3",
            {},
            "made an object of type 'int'; a function that is a model takes the audio first: def X(",
        ),
        ("def X(*, audio): return 3", {}, "missing; only a parameter before the * can take the audio"),
        ("def X(audio, gain=1): return {}", {"gian": 1}, "unknown option 'gian': expected one of gain"),
        ("def X(audio): return {}", {"gain": 1}, "unknown option 'gain': expected no options"),
        ("def X(audio, *, gain): return {}", {}, "the option 'gain' is required and missing"),
        (
            "class X(voxgate.Model):\n def __init__(self, a, b): pass",
            {"a": 1},
            "the option 'b' is required and missing",
        ),
        ("class X(voxgate.Model):\n def __init__(self): raise OSError('no disk')", {}, "OSError: no disk"),
        ("class X(voxgate.Model):\n def __init__(self): raise SystemExit(3)", {}, "SystemExit: 3"),
        (
            "class M(voxgate.Model):\n def infer(self, audio): pass\nX = M()",
            {"a": 1},
            "no options, for it is an instance",
        ),
        *[
            (
                f"class X(voxgate.Model):\n sample_rate = {rate}\n def infer(self, audio): pass",
                {},
                f"4000..192000 Hz, not {rate}",
            )
            for rate in (3999, 192001, 16000.0, True, None)
        ],
        *[
            (f"class X(voxgate.Model):\n threads = {n}\n def infer(self, audio): pass", {}, f"at least 1, not {n}")
            for n in (0, -1, 2.0, True)
        ],
        ("raise ValueError('broken at import')", {}, "failed: ValueError: broken at import"),
        ("raise SystemExit(2)", {}, "failed: SystemExit: 2"),
        ("import nowhere_to_be_found", {}, "it needs the module 'nowhere_to_be_found', which is not installed"),
        ("def f(:", {}, "failed: SyntaxError"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(
    module: Write, source: str, options: dict[str, Any], message: str
) -> None:
    text = refusal(f"{module(source)}:X", options)
    assert message in text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "class X(voxgate.Model):\n def __init__(self): self.load()\n def load(self): {}['vocab_size']",
            "KeyError: 'vocab_size' ({name}.py, line 4, in load)",
        ),
        ("import json\ndef X(): return json.loads('{')", "line 1 column 2 (char 1) ({name}.py, line 3, in X)"),
        ("def X(): raise ValueError('too few layers')", ": too few layers ({name}.py, line 2, in X)"),
        ("import voxgate.models.base as base\ndef X(): base.Batch(None, None)", "({name}.py, line 3, in X)"),
        ("\n1 / 0", "failed: ZeroDivisionError: division by zero ({name}.py, line 3)"),
        ("import nowhere_to_be_found", "which is not installed ({name}.py, line 2)"),
        ("def f(:", "({name}.py, line 2)"),
    ],
)
def test_a_failure_says_where(module: Write, caplog: pytest.LogCaptureFixture, source: str, message: str) -> None:
    caplog.set_level("DEBUG", "voxgate")
    name = module(source)
    text = refusal(f"{name}:X", {})
    assert text.endswith(message.format(name=name))
    assert text.count(".py") == 1
    (record,) = caplog.records
    assert record.exc_info is not None


def test_a_config_error_of_a_constructor_is_left_as_it_is(module: Write) -> None:
    name = module("from voxgate.errors import ConfigError\ndef X(): raise ConfigError('weights are missing')")
    with pytest.raises(ConfigError, match=r"^weights are missing$"):
        load_model(f"{name}:X")


def test_a_missing_module_is_told_from_a_missing_dependency(module: Write) -> None:
    text = refusal("written_nothing.asr:Transcriber")
    assert "no module named 'written_nothing'" in text
    assert str(Path.cwd()) in text


def test_a_file_in_place_of_its_module(module: Write) -> None:
    name = module("def X(audio): return {}")
    assert refusal(f"{name}.py:X").endswith(f"; for a file write its module, '{name}'")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("models/asr.py:X", "'models.asr'"),
        ("./asr.py:X", "'asr'"),
        ("a:", ""),
        (":X", ""),
        ("a-b:X", ""),
        ("a.b:c d", ""),
    ],
)
def test_a_malformed_place(module: Write, spec: str, hint: str) -> None:
    text = refusal(spec)
    assert "expected 'pkg.module:attribute'" in text
    assert hint in text
