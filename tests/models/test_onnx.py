"""`onnx:PATH`: every form of model it takes, what it answers, and that a batch never changes an answer."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is optional: pip install 'voxgate[onnx]'")
pytest.importorskip("onnx", reason="the package onnx builds the models of these tests: pip install 'voxgate[test]'")

from reference.onnx_models import BOOL, FLOAT, INT32, INT64, STRING, write
from voxgate.errors import InferenceError, ModelLoadError
from voxgate.models.base import Batch, Samples
from voxgate.models.loader import load_model
from voxgate.models.onnx import Onnx
from voxgate.protocol.events import Segment
from voxgate.protocol.json_codec import encode_event

Make = Callable[..., str]

AUDIO = ("audio", FLOAT, ["batch", "samples"])


def noise(n: int, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


ITEMS = [noise(3000, 1), noise(8000, 2), noise(3000, 3), noise(500, 4)]


@pytest.fixture
def mean(tmp_path: Path) -> str:
    """(batch, samples) -> the mean of each item: padding changes it."""
    return write(tmp_path / "mean.onnx", [AUDIO], [("mean", FLOAT, ["batch"])], [MEAN])


MEAN = ("ReduceMean", ["audio"], ["mean"], {"axes": [1], "keepdims": 0})


def sum_over_length(path: Path, lengths: tuple[str, int, Any] = ("lengths", INT64, ["batch"])) -> str:
    """The mean over as many samples as the model is told: padding does not change it."""
    return write(
        path,
        [AUDIO, lengths],
        [("mean", FLOAT, ["batch"])],
        [
            ("ReduceSum", ["audio", "axis"], ["sum"], {"keepdims": 0}),
            ("Cast", [lengths[0]], ["n"], {"to": FLOAT}),
            ("Div", ["sum", "n"], ["mean"]),
        ],
        {"axis": np.array([1], np.int64)},
    )


def frames(path: Path, inputs: Sequence[Any] = (AUDIO,), name: str = "levels") -> str:
    """Maxima of 160 samples each: (batch, frames)."""
    return write(
        path,
        inputs,
        [(name, FLOAT, ["batch", "frames"])],
        [
            ("Unsqueeze", ["audio", "axis"], ["planes"]),
            ("MaxPool", ["planes"], ["maxima"], {"kernel_shape": [160], "strides": [160]}),
            ("Squeeze", ["maxima", "axis"], [name]),
        ],
        {"axis": np.array([1], np.int64)},
    )


def scores(path: Path, n: int = 3, metadata: dict[str, str] | None = None) -> str:
    """Mean times (0, 1, 2 ...): the scores of n labels."""
    return write(
        path,
        [AUDIO],
        [("scores", FLOAT, ["batch", n])],
        [
            ("ReduceMean", ["audio"], ["mean"], {"axes": [1], "keepdims": 1}),
            ("Mul", ["mean", "ramp"], ["scores"]),
        ],
        {"ramp": np.arange(n, dtype=np.float32)[None]},
        metadata,
    )


def refusal(path: str, **options: Any) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load_model(f"onnx:{path}", options)
    assert str(caught.value).startswith(f"model 'onnx:{path}': ")
    return str(caught.value)


# --- inputs ---


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


@pytest.mark.parametrize("kind", [INT64, INT32])
@pytest.mark.parametrize("name", ["lengths", "audio_len", "x_lens", "num_samples", "audio_signal_length"])
def test_an_input_for_the_lengths_allows_padding(
    tmp_path: Path, name: str, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Onnx(sum_over_length(tmp_path / "m.onnx", (name, kind, ["batch"])))
    model.warm_up()
    runs = count_runs(model, monkeypatch)
    answers = model.infer_batch(Batch.gather(ITEMS))
    assert [a["mean"] for a in answers] == pytest.approx([float(item.mean()) for item in ITEMS], abs=1e-6)
    assert runs == [4]


def count_runs(model: Onnx, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches which the session gets from here on."""
    sizes: list[int] = []

    class Session:
        def run(self, names: Any, feed: Any) -> Any:
            sizes.append(len(feed["audio"]))
            return session.run(names, feed)

    session = model._session
    monkeypatch.setattr(model, "_session", Session())
    return sizes


@pytest.mark.parametrize("kind", [INT64, FLOAT, BOOL])
def test_an_attention_mask_allows_padding(tmp_path: Path, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(
        tmp_path / "m.onnx",
        [AUDIO, ("attention_mask", kind, ["batch", "samples"])],
        [("mean", FLOAT, ["batch", 1]), ("n", FLOAT, ["batch", 1])],
        [
            ("Cast", ["attention_mask"], ["mask"], {"to": FLOAT}),
            ("Mul", ["audio", "mask"], ["masked"]),
            ("ReduceSum", ["masked", "axis"], ["sum"], {"keepdims": 1}),
            ("ReduceSum", ["mask", "axis"], ["n"], {"keepdims": 1}),
            ("Div", ["sum", "n"], ["mean"]),
        ],
        {"axis": np.array([1], np.int64)},
    )
    model = Onnx(path)
    model.warm_up()
    runs = count_runs(model, monkeypatch)
    answers = model.infer_batch(Batch.gather(ITEMS))
    assert [a["mean"] for a in answers] == pytest.approx([float(item.mean()) for item in ITEMS], abs=1e-6)
    assert [a["n"] for a in answers] == [len(item) for item in ITEMS]
    assert runs == [4]


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


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert "expected the path of a file, but there is none at" in refusal(str(tmp_path / "missing.onnx"))
    assert "expected the path of a file" in refusal(str(tmp_path))
    (tmp_path / "text.onnx").write_text("hello")
    assert "onnxruntime cannot load it: " in refusal(str(tmp_path / "text.onnx"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be an integer of 1..256, not 0"),
        ({"top": 1.5}, "top must be an integer of 1..1000, not 1.5"),
        ({"max_values": True}, "max_values must be an integer of 1..1000000, not True"),
        ({"min_samples": 0}, "min_samples must be"),
        ({"activation": "relu"}, "activation must be one of none, softmax, sigmoid, not 'relu'"),
        ({"batch": "yes"}, "batch must be one of auto, padded, equal, off, not 'yes'"),
        ({"providers": "NoSuchProvider"}, "providers: expected some of "),
        ({"outputs": "nothing"}, "outputs: it has no output 'nothing'; its outputs are 'mean' float (batch)"),
        ({"labels": ["a", "b"]}, "labels: there are 2, but no output whose last axis has that size"),
        ({"labels": []}, "labels: expected at least one, and nothing but strings"),
        ({"labels": [1]}, "labels: expected at least one, and nothing but strings"),
        ({"labels": "no_such_file.txt"}, "labels: expected a list, or a text file that can be read: "),
        ({"sample_rate": 100}, "sample_rate must be an integer of 4000..192000 Hz, not 100"),
    ],
)
def test_options_out_of_range(mean: str, options: dict[str, Any], message: str) -> None:
    assert message in refusal(mean, **options)


# --- sample rate ---


@pytest.mark.parametrize("key", ["sample_rate", "sampling_rate", "sr"])
def test_the_sample_rate_is_in_the_metadata(tmp_path: Path, key: str) -> None:
    path = scores(tmp_path / "m.onnx", metadata={key: "22050"})
    assert load_model(f"onnx:{path}").sample_rate == 22050
    assert load_model(f"onnx:{path}", {"sample_rate": 8000}).sample_rate == 8000


def test_a_sample_rate_nobody_can_read(tmp_path: Path) -> None:
    path = scores(tmp_path / "m.onnx", metadata={"sample_rate": "16 kHz"})
    assert "its metadata sample_rate is '16 kHz': expected Hz; set the option sample_rate" in refusal(path)
    assert load_model(f"onnx:{scores(tmp_path / 'n.onnx')}").sample_rate == 16_000


# --- outputs ---


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


def test_large_outputs_are_refused_in_words(tmp_path: Path) -> None:
    model = Onnx(frames(tmp_path / "m.onnx"), max_values=10)
    assert len(model.infer(noise(1600))["levels"]) == 10
    with pytest.raises(InferenceError, match=r"'levels' has 11 values, but at most 10 are sent \(max_values\)"):
        model.infer(noise(1760))
    path = scores(tmp_path / "many.onnx", 5000)
    assert "'scores' has 5000 values, but at most 4096 are sent" in refusal(path)
    assert len(load_model(f"onnx:{path}", {"max_values": 5000}).infer(noise(9))["scores"]) == 5000


@pytest.mark.parametrize("name", ["type", "channel", "start_time", "is_final"])
def test_reserved_names_are_found_at_load(tmp_path: Path, name: str) -> None:
    path = frames(tmp_path / "m.onnx", name=name)
    assert f"the name of its output {name!r} has another meaning in an answer" in refusal(path)


# --- labels ---


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


# --- batches ---


def test_items_of_equal_length_share_a_call(mean: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Onnx(mean)
    model.warm_up()
    runs = count_runs(model, monkeypatch)
    answers = model.infer_batch(Batch.gather(ITEMS))
    assert [a["mean"] for a in answers] == [model.infer(item)["mean"] for item in ITEMS]
    assert sorted(runs[:3]) == [1, 1, 2]
    assert runs[3:] == [1] * 4


@pytest.mark.parametrize(("batch", "expected"), [("padded", [4]), ("equal", [1, 1, 2]), ("off", [1, 1, 1, 1])])
def test_the_way_of_batching_can_be_set(
    mean: str, batch: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Onnx(mean, batch=batch)
    model.warm_up()
    assert model.batches == (batch != "off")
    runs = count_runs(model, monkeypatch)
    model.infer_batch(Batch.gather(ITEMS))
    assert sorted(runs) == expected


def test_a_model_of_one_length_pads_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.onnx", [("audio", FLOAT, ["batch", 1600])], [("mean", FLOAT, ["batch"])], [MEAN])
    model = Onnx(path)
    model.warm_up()
    assert model.infer(np.ones(800, np.float32)) == {"mean": 0.5}
    runs = count_runs(model, monkeypatch)
    items = [np.ones(n, np.float32) for n in (0, 400, 1600)]
    assert model.infer_batch(Batch.gather(items)) == [{"mean": 0.0}, {"mean": 0.25}, {"mean": 1.0}]
    assert runs == [3]
    with pytest.raises(InferenceError, match=r"^The model takes at most 0\.10 s of audio, not 0\.20 s$"):
        model.infer(np.ones(3200, np.float32))


def test_one_length_and_told_what_is_audio(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.onnx",
        [("audio", FLOAT, ["batch", 1600]), ("lengths", INT64, ["batch"])],
        [("n", INT64, ["batch"]), ("mean", FLOAT, ["batch"])],
        [("Identity", ["lengths"], ["n"]), MEAN],
    )
    model = Onnx(path)
    assert model.infer(noise(700))["n"] == 700
    assert [a["n"] for a in model.infer_batch(Batch.gather([noise(700), noise(1600)]))] == [700, 1600]


def test_frames_are_never_padded(tmp_path: Path) -> None:
    """A model that takes lengths, but answers with one value per frame: in a padded batch all would get as many."""
    path = frames(tmp_path / "m.onnx", [AUDIO, ("lengths", INT64, ["batch"])])
    model = Onnx(path)
    answers = model.infer_batch(Batch.gather(ITEMS))
    assert answers == [model.infer(item) for item in ITEMS]
    assert [len(a["levels"]) for a in answers] == [18, 50, 18, 3]


def test_one_length_for_all_items_is_not_padded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sum_over_length(tmp_path / "m.onnx", ("lengths", INT64, [1]))
    model = Onnx(path)
    model.warm_up()
    runs = count_runs(model, monkeypatch)
    answers = model.infer_batch(Batch.gather(ITEMS))
    assert [a["mean"] for a in answers] == pytest.approx([float(item.mean()) for item in ITEMS], abs=1e-6)
    assert sorted(runs) == [1, 1, 2]
    assert "batch: expected no 'padded', for its input 'lengths' takes one value" in refusal(path, batch="padded")


def test_warm_up_finds_that_padding_changes_an_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "m.onnx",
        [AUDIO, ("lengths", INT64, ["batch"])],  # which it takes, and ignores
        [("mean", FLOAT, ["batch"]), ("n", INT64, ["batch"])],
        [
            ("Abs", ["audio"], ["loud"]),
            ("ReduceMean", ["loud"], ["mean"], {"axes": [1], "keepdims": 0}),
            ("Identity", ["lengths"], ["n"]),
        ],
    )
    model = Onnx(path)
    with caplog.at_level(logging.WARNING):
        model.warm_up()
    assert "answers otherwise in a batch (padded, output 'mean'): using batch = 'equal'" in caplog.text
    assert str(tmp_path) not in caplog.text
    assert model.batches
    answers = model.infer_batch(Batch.gather(ITEMS))
    assert answers == [model.infer(item) for item in ITEMS]
    forced = Onnx(path, batch="padded")
    forced.warm_up()
    assert forced.infer_batch(Batch.gather(ITEMS))[0]["mean"] != answers[0]["mean"]


def test_warm_up_finds_that_items_cannot_be_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "m.onnx", [AUDIO], [("y", FLOAT, [])], [("ReduceMean", ["audio"], ["y"], {"keepdims": 0})])
    model = Onnx(path)
    assert model.batches
    with caplog.at_level(logging.WARNING):
        model.warm_up()
    assert "using batch = 'off'" in caplog.text
    assert not model.batches
    assert model.infer_batch(Batch.gather(ITEMS)) == [model.infer(item) for item in ITEMS]


def test_a_good_batch_says_nothing(tmp_path: Path, mean: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Onnx(mean).warm_up()
        Onnx(sum_over_length(tmp_path / "m.onnx")).warm_up()
        Onnx(scores(tmp_path / "s.onnx"), labels=["a", "b", "c"]).warm_up()
    assert caplog.text == ""


# --- edges ---


def test_short_and_empty_audio_is_filled_up(tmp_path: Path, mean: str) -> None:
    assert Onnx(mean).infer(np.zeros(0, np.float32)) == {"mean": 0.0}
    model = Onnx(frames(tmp_path / "m.onnx"), min_samples=320)
    assert model.infer(np.ones(10, np.float32)) == {"levels": [1.0, 0.0]}
    items = [np.ones(n, np.float32) for n in (0, 10, 480)]
    assert model.infer_batch(Batch.gather(items)) == [model.infer(item) for item in items]


def test_the_audio_is_left_as_it_was(mean: str) -> None:
    audio = noise(500)
    before = audio.copy()
    Onnx(mean).infer(audio)
    assert np.array_equal(audio, before)


def test_name_and_threads(mean: str) -> None:
    model = Onnx(mean)
    assert (model.name, model.threads, model.holds_gil, model.stateful) == ("onnx:mean.onnx", None, False, False)
    options = Onnx(mean, threads=2)._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert (Onnx(mean, threads=200).threads or 0) == 1


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
