"""Opening the file, and calls on threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is optional: pip install 'voxgate[onnx]'")

pytest.importorskip("onnx", reason="the package onnx builds the models of these tests: pip install 'voxgate[test]'")
from helpers.onnx_files import ITEMS, refusal, sum_over_length
from voxgate.models.loader import load_model
from voxgate.models.onnx import Onnx


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert "expected the path of a file, but there is none at" in refusal(str(tmp_path / "missing.onnx"))
    assert "expected the path of a file" in refusal(str(tmp_path))
    (tmp_path / "text.onnx").write_text("hello")
    assert "onnxruntime cannot load it: " in refusal(str(tmp_path / "text.onnx"))


def test_threads_share_a_session(tmp_path: Path) -> None:
    model = Onnx(sum_over_length(tmp_path / "m.onnx"))
    expected = [model.infer(item) for item in ITEMS]
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(50):
            if [model.infer(item) for item in ITEMS] != expected:
                wrong.append("single")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_path_in_the_home_directory(tmp_path: Path, mean: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_model("onnx:~/mean.onnx").infer(np.ones(4, np.float32)) == {"mean": 1.0}
    monkeypatch.chdir(tmp_path)
    assert load_model("onnx:mean.onnx").name == "onnx:mean.onnx"


def test_close_lets_the_session_go(mean: str) -> None:
    model = Onnx(mean)
    model.close()
    assert model._session is None
