"""The values of the outputs in an answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is optional: pip install 'voxgate[onnx]'")

pytest.importorskip("onnx", reason="the package onnx builds the models of these tests: pip install 'voxgate[test]'")
from helpers.onnx_files import AUDIO, frames, noise
from reference.onnx_models import FLOAT, INT64, STRING, write
from voxgate.models.onnx import Onnx
from voxgate.protocol.events import Segment
from voxgate.protocol.json_codec import encode_event


def test_outputs_become_numbers_and_lists(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.onnx",
        [AUDIO],
        [
            ("one", FLOAT, ["batch", 1]),
            ("three", FLOAT, ["batch", 3]),
            ("table", FLOAT, ["batch", 3, 1]),
            ("word", STRING, [1]),
            ("length", INT64, []),
        ],
        [
            ("ReduceMax", ["audio"], ["one"], {"axes": [1], "keepdims": 1}),
            ("Mul", ["one", "ramp"], ["three"]),
            ("Unsqueeze", ["three", "two"], ["table"]),
            ("Identity", ["hello"], ["word"]),
            ("Size", ["audio"], ["length"]),
        ],
        {
            "ramp": np.array([[1, 2, np.inf]], np.float32),
            "two": np.array([2], np.int64),
            "hello": np.array(["hello"], object),
        },
    )
    model = Onnx(path)
    answer = model.infer(np.full(5, 0.1, np.float32))
    assert answer == {
        "one": 0.1,
        "three": [0.1, 0.2, float("inf")],
        "table": [[0.1], [0.2], [float("inf")]],
        "word": "hello",
        "length": 5,
    }
    sent = json.loads(encode_event(Segment(0.0, 1.0, True, answer, 0)))
    assert sent["one"] == 0.1
    assert sent["three"] == [0.1, 0.2, None]
    some = Onnx(path, outputs=["three", "word"])
    assert list(some.infer(noise(5))) == ["three", "word"]
    assert list(Onnx(path, outputs="one").infer(noise(5))) == ["one"]


def test_a_list_stays_a_list_when_it_has_one_entry(tmp_path: Path) -> None:
    model = Onnx(frames(tmp_path / "m.onnx"))
    assert model.infer(np.full(160, 0.5, np.float32)) == {"levels": [0.5]}
    assert model.infer(np.full(320, 0.5, np.float32)) == {"levels": [0.5, 0.5]}


def test_an_output_without_a_batch_axis(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.onnx", [("x", FLOAT, [1, "n"])], [("y", FLOAT, ["n"])], [("Squeeze", ["x", "axis"], ["y"])],
        {"axis": np.array([0], np.int64)},
    )  # fmt: skip
    model = Onnx(path)
    assert model.infer(np.full(2, 0.5, np.float32)) == {"y": [0.5, 0.5]}
    assert model.infer(np.full(1, 0.5, np.float32)) == {"y": [0.5]}
