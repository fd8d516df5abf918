"""The inputs of an ONNX file, and their purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is optional: pip install 'voxgate[onnx]'")

pytest.importorskip("onnx", reason="the package onnx builds the models of these tests: pip install 'voxgate[test]'")
from helpers.onnx_files import AUDIO, ITEMS, MEAN, noise, refusal, scores
from reference.onnx_models import FLOAT, INT32, INT64, write
from voxgate.models.base import Batch
from voxgate.models.loader import load_model
from voxgate.models.onnx import Onnx


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        (["samples"], [0]),
        (["batch", "samples"], [1]),
        ([1, "samples"], [1]),
        ([None, None], [1]),
        (["batch", 1, "samples"], [1, 2]),
        (["batch", "channels", "samples"], [1, 2]),
        ([1, 1, "samples"], [1, 2]),
    ],
)
def test_each_form_of_waveform(tmp_path: Path, shape: list[Any], axes: list[int]) -> None:
    output = [] if axes == [0] else shape[:1]
    path = write(
        tmp_path / "m.onnx",
        [("x", FLOAT, shape)],
        [("y", FLOAT, output)],
        [("ReduceMean", ["x"], ["y"], {"axes": axes, "keepdims": 0})],
    )
    model = load_model(f"onnx:{path}")
    model.warm_up()
    audio = noise(1600)
    assert model.infer(audio) == {"y": pytest.approx(float(audio.mean()), abs=1e-7)}
    assert isinstance(model.infer(audio)["y"], float)
    assert model.batches == (shape[0] in ("batch", None))
    answers = model.infer_batch(Batch.gather(ITEMS))
    assert [a["y"] for a in answers] == pytest.approx([float(item.mean()) for item in ITEMS], abs=1e-6)


@pytest.mark.parametrize(("kind", "shape"), [(INT64, []), (INT32, [1]), (FLOAT, ["batch"]), (INT64, [1])])
@pytest.mark.parametrize("name", ["sr", "sample_rate", "audio_sampling_rate"])
def test_an_input_for_the_sample_rate(tmp_path: Path, kind: int, shape: list[Any], name: str) -> None:
    path = write(
        tmp_path / "m.onnx",
        [AUDIO, (name, kind, shape)],
        [("y", FLOAT, ["batch"])],
        [MEAN, ("Cast", [name], ["hz"], {"to": FLOAT}), ("Add", ["mean", "hz"], ["y"])],
    )
    model = load_model(f"onnx:{path}", {"sample_rate": 8000})
    model.warm_up()
    assert model.sample_rate == 8000
    assert model.infer(np.zeros(800, np.float32)) == {"y": 8000.0}
    assert model.infer_batch(Batch(np.zeros((2, 800), np.float32), np.array([800, 800]))) == [{"y": 8000.0}] * 2


def test_a_sample_rate_for_each_item(tmp_path: Path) -> None:
    outputs = [("mean", FLOAT, ["batch"]), ("hz", INT64, ["batch"])]
    path = write(tmp_path / "m.onnx", [AUDIO, ("sr", INT64, ["batch"])], outputs, [MEAN, ("Identity", ["sr"], ["hz"])])
    answers = Onnx(path).infer_batch(Batch.gather([ITEMS[0], ITEMS[2]]))
    assert [a["hz"] for a in answers] == [16_000, 16_000]


def test_inputs_can_be_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.onnx",
        [("left", FLOAT, ["b", "n"]), ("tempo", INT64, []), ("till", INT64, ["b"]), ("where", INT64, ["b", "n"])],
        [("hz", INT64, []), ("n", INT64, ["b"]), ("ones", INT64, ["b"]), ("first", FLOAT, ["b"])],
        [
            ("Identity", ["tempo"], ["hz"]),
            ("Identity", ["till"], ["n"]),
            ("ReduceSum", ["where", "axis"], ["ones"], {"keepdims": 0}),
            ("ReduceMax", ["left"], ["first"], {"axes": [1], "keepdims": 0}),
        ],
        {"axis": np.array([1], np.int64)},
    )
    assert "nothing is known to put into its input 'tempo', 'till', 'where'" in refusal(path)
    options = {"input": "left", "rate_input": "tempo", "lengths_input": "till", "mask_input": "where"}
    model = load_model(f"onnx:{path}", options)
    assert model.infer(np.full(300, 0.5, np.float32)) == {"hz": 16000, "n": 300, "ones": 300, "first": 0.5}
    text = refusal(path, **{**options, "input": "right"})
    assert "input: it has no input 'right'; its inputs are 'left' float (b, n)" in text
    assert "lengths_input: expected a tensor of int64, int32 with 0 or 1 axes" in refusal(path, lengths_input="left")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([("mel", FLOAT, ["batch", 80, "frames"])], "its inputs are 'mel' float (batch, 80, frames)"),
        ([("features", FLOAT, ["batch", 40])], "its inputs are 'features' float (batch, 40)"),
        ([("tokens", INT64, ["batch", "n"])], "its inputs are 'tokens' int64 (batch, n)"),
        ([("pcm", INT32, ["n"])], "its inputs are 'pcm' int32 (n)"),
        ([("four", FLOAT, [4, "n"])], "its inputs are 'four' float (4, n)"),
        ([("deep", FLOAT, [1, 1, 1, None])], "its inputs are 'deep' float (1, 1, 1, ?)"),
    ],
)
def test_a_model_without_a_waveform_names_what_it_has(tmp_path: Path, inputs: list[Any], message: str) -> None:
    name = inputs[0][0]
    path = write(tmp_path / "m.onnx", inputs, [("y", INT64, [None])], [("Shape", [name], ["y"])])
    text = refusal(path)
    assert "expected an input that takes a waveform: float32, of shape (samples,), (batch, samples)" in text
    assert message in text


def test_a_model_with_a_state_or_two_waveforms_is_refused(tmp_path: Path) -> None:
    shapes = [("Shape", ["audio"], ["y"]), ("Shape", ["other"], ["z"])]
    outputs = [("y", INT64, [2]), ("z", INT64, [None])]
    path = write(tmp_path / "a.onnx", [AUDIO, ("other", FLOAT, [2, 1, 128])], outputs, shapes)
    text = refusal(path)
    assert "nothing is known to put into its input 'other'" in text
    assert "'other' float (2, 1, 128)" in text
    path = write(tmp_path / "b.onnx", [AUDIO, ("other", FLOAT, [1, "n"])], outputs, shapes)
    assert "which input takes the waveform? 'audio', 'other' could: name one with the option input" in refusal(path)


@pytest.mark.parametrize("key", ["sample_rate", "sampling_rate", "sr"])
def test_the_sample_rate_is_in_the_metadata(tmp_path: Path, key: str) -> None:
    path = scores(tmp_path / "m.onnx", metadata={key: "22050"})
    assert load_model(f"onnx:{path}").sample_rate == 22050
    assert load_model(f"onnx:{path}", {"sample_rate": 8000}).sample_rate == 8000


def test_a_sample_rate_nobody_can_read(tmp_path: Path) -> None:
    path = scores(tmp_path / "m.onnx", metadata={"sample_rate": "16 kHz"})
    assert "its metadata sample_rate is '16 kHz': expected Hz; set the option sample_rate" in refusal(path)
    assert load_model(f"onnx:{scores(tmp_path / 'n.onnx')}").sample_rate == 16_000
