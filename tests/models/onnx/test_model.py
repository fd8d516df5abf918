"""Options, batches and padding of ONNX models."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is optional: pip install 'voxgate[onnx]'")

pytest.importorskip("onnx", reason="the package onnx builds the models of these tests: pip install 'voxgate[test]'")
from helpers.onnx_files import AUDIO, ITEMS, MEAN, frames, noise, refusal, scores, sum_over_length
from reference.onnx_models import BOOL, FLOAT, INT32, INT64, write
from voxgate.errors import InferenceError
from voxgate.models.base import Batch
from voxgate.models.loader import load_model
from voxgate.models.onnx import Onnx


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be an integer of 1..256, not 0"),
        ({"top": 1.5}, "the option 'top' must be an integer, got 1.5"),
        ({"max_values": True}, "the option 'max_values' must be an integer, got true"),
        ({"min_samples": 0}, "min_samples must be"),
        ({"activation": "relu"}, "activation must be one of none, softmax, sigmoid, not 'relu'"),
        ({"batch": "yes"}, "batch must be one of auto, padded, equal, off, not 'yes'"),
        ({"providers": "NoSuchProvider"}, "providers: expected some of "),
        ({"outputs": "nothing"}, "outputs: it has no output 'nothing'; its outputs are 'mean' float (batch)"),
        ({"labels": ["a", "b"]}, "labels: there are 2, but no output whose last axis has that size"),
        ({"labels": []}, "labels: expected at least one, and nothing but strings"),
        ({"labels": [1]}, "the option 'labels' must be a string or Sequence[str], got [1]"),
        ({"labels": "no_such_file.txt"}, "labels: expected a list, or a text file that can be read: "),
        ({"sample_rate": 100}, "sample_rate must be an integer of 4000..192000 Hz, not 100"),
    ],
)
def test_options_out_of_range(mean: str, options: dict[str, Any], message: str) -> None:
    assert message in refusal(mean, **options)


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
    assert "batch: expected no 'padded', because its input 'lengths' takes one value" in refusal(path, batch="padded")


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
    assert "answers differently in a batch (padded, output 'mean'): using batch = 'equal'" in caplog.text
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
