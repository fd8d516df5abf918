"""Scores as ranked labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is optional: pip install 'voxgate[onnx]'")

pytest.importorskip("onnx", reason="the package onnx builds the models of these tests: pip install 'voxgate[test]'")
from helpers.onnx_files import AUDIO, noise, refusal, scores
from reference.onnx_models import FLOAT, write
from voxgate.models.base import Batch
from voxgate.models.onnx import Onnx


def test_labels_rank_the_scores(tmp_path: Path) -> None:
    path = scores(tmp_path / "m.onnx")
    model = Onnx(path, labels=["low", "middle", "high"], top=2)
    assert model.infer(np.full(100, 0.5, np.float32)) == {
        "label": "high",
        "score": 1.0,
        "labels": [{"label": "high", "score": 1.0}, {"label": "middle", "score": 0.5}],
    }
    answers = model.infer_batch(Batch.gather([np.full(100, v, np.float32) for v in (0.5, -0.5)]))
    assert [a["label"] for a in answers] == ["high", "low"]
    assert list(Onnx(path, labels=["a", "b", "c"], outputs="scores").infer(noise(5))) == [
        "label",
        "score",
        "labels",
        "scores",
    ]


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("none", 1.0), ("softmax", float(np.exp(1) / (1 + np.exp(0.5) + np.exp(1)))), ("sigmoid", 1 / (1 + np.exp(-1)))],
)
def test_activations(tmp_path: Path, activation: str, expected: float) -> None:
    model = Onnx(scores(tmp_path / "m.onnx"), labels=["a", "b", "c"], activation=activation)
    answer = model.infer(np.full(100, 0.5, np.float32))
    assert (answer["label"], answer["score"]) == ("c", pytest.approx(expected, abs=1e-6))


@pytest.mark.parametrize("text", ["a\nb b\nc\n", '["a", "b b", "c"]', "\ufeffa\r\nb b \r\nc\r\n\r\n"])
def test_labels_of_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels").write_text(text, encoding="utf-8", newline="")
    model = Onnx(scores(tmp_path / "m.onnx"), labels=str(tmp_path / "labels"))
    assert [one["label"] for one in model.infer(np.ones(9, np.float32))["labels"]] == ["c", "b b", "a"]


def test_labels_over_time_are_averaged(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.onnx",
        [AUDIO],
        [("scores", FLOAT, ["batch", "frames", 2])],
        [
            ("Reshape", ["audio", "shape"], ["pairs"]),
            ("Identity", ["pairs"], ["scores"]),
        ],
        {"shape": np.array([0, -1, 2], np.int64)},
    )
    model = Onnx(path, labels=["even", "odd"])
    answer = model.infer(np.array([1, 0, 0.5, 0, 0.3, 0.6], np.float32))
    assert answer["labels"] == [{"label": "even", "score": 0.6}, {"label": "odd", "score": 0.2}]


def test_labels_of_another_number_than_scores(tmp_path: Path) -> None:
    assert "labels: there are 2, but no output whose last axis has that size" in refusal(
        scores(tmp_path / "m.onnx"), labels=["a", "b"]
    )
    path = write(tmp_path / "n.onnx", [AUDIO], [("y", FLOAT, ["batch", "samples"])], [("Identity", ["audio"], ["y"])])
    model = Onnx(path, labels=["a", "b"])
    assert model.infer(np.array([0.5, 1.0], np.float32))["label"] == "b"
    with pytest.raises(ValueError, match=r"the scores have shape \(3,\), but there are 2 labels"):
        model.infer(noise(3))
