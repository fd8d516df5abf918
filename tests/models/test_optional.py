from __future__ import annotations

import sys
from pathlib import Path

import pytest

from voxgate.errors import ModelLoadError
from voxgate.models.loader import load_model
from voxgate.models.optional import Needs


def test_a_missing_package_gets_the_install_line() -> None:
    needs = Needs("mine", "nowhere_to_be_found", "extra")
    assert not needs.installed
    for refused in (needs.check, needs.load):
        with pytest.raises(ModelLoadError) as caught:
            refused()
        assert str(caught.value) == (
            "model 'mine' needs the package 'nowhere_to_be_found', which is not installed: pip install 'voxgate[extra]'"
        )


def test_a_package_that_is_there() -> None:
    import json

    needs = Needs("mine", "json", "extra")
    assert needs.installed
    needs.check()
    assert needs.load() is json


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise OSError('libwhisper.so.1: no such file')", "OSError: libwhisper.so.1: no such file"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_broken_package_is_told_from_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, reason: str
) -> None:
    (tmp_path / "broken_package.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    needs = Needs("mine", "broken_package", "extra")
    assert needs.installed
    with pytest.raises(ModelLoadError, match="'broken_package' is installed, but importing it failed") as caught:
        needs.load()
    assert str(caught.value).endswith(reason)


@pytest.mark.parametrize(
    ("spec", "module", "extra"),
    [
        ("onnx:{here}", "onnxruntime", "onnx"),
        ("pocketsphinx", "pocketsphinx", "pocketsphinx"),
        ("faster-whisper:tiny", "faster_whisper", "whisper"),
    ],
)
def test_each_model_says_how_to_install_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, spec: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelLoadError, match=rf"needs the package '{module}'.*: pip install 'voxgate\[{extra}\]'$"):
        load_model(spec.format(here=__file__))
