"""The network of Smart Turn. Tests that need its file run where `make smart-turn` or $SMART_TURN_ONNX has it."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from reference import log_mel_ref
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.errors import ConfigError
from voxgate.recordings import path
from voxgate.vad.turns import TurnQuestion, load_turn_detector
from voxgate.vad.turns.smart_turn import SmartTurn

pytest.importorskip("onnxruntime")

ONNX = Path(
    os.environ.get("SMART_TURN_ONNX") or Path(__file__).parents[3] / "build/smart-turn/smart-turn-v3.2-cpu.onnx"
)
needs_file = pytest.mark.skipif(not ONNX.is_file(), reason="make smart-turn fetches it")
RATE = 16_000
SENTENCES = json.loads(files("voxgate.recordings").joinpath("truth.json").read_text())["files"]["reading"]["channels"][
    0
]


@pytest.fixture(scope="module")
def detector() -> SmartTurn:
    made = load_turn_detector(f"smart-turn:{ONNX}")
    assert isinstance(made, SmartTurn)
    return made


@pytest.fixture(scope="module")
def reading() -> np.ndarray:
    planes, rate = read_audio(path("reading"))
    return resample(planes[0], rate, RATE)


def judged(detector: SmartTurn, *audio: np.ndarray) -> list[float]:
    return detector.judge([TurnQuestion(one, None) for one in audio]).tolist()


def test_another_file_is_no_detector(tmp_path):
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no network")
    with pytest.raises(ConfigError, match=r"turn detector 'smart-turn:.*wrong\.onnx' cannot be loaded"):
        SmartTurn(str(wrong))


def test_another_network_is_no_detector(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "other",
        [value("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ConfigError, match=r"is another model: expected one input \(batch, 80, 800\)"):
        SmartTurn(str(tmp_path / "other.onnx"))


@needs_file
def test_whole_sentences_are_more_finished_than_their_beginnings(detector, reading):
    """Of the sentences that end with a full stop or a colon, beside the one with a comma and all their beginnings."""
    whole, comma, begun = [], [], []
    for sentence in SENTENCES:
        begin, end = (round(RATE * sentence[name]) for name in ("start_s", "end_s"))
        audio = reading[begin - RATE // 3 : end + 3 * RATE // 10]
        (comma if sentence["text"].endswith(",") else whole).append(audio)
        for part in (0.3, 0.45, 0.6, 0.75):
            cut = audio[: round(part * len(audio))].copy()
            cut[-160:] *= np.linspace(1, 0, 160, dtype=np.float32)
            begun.append(np.concatenate([cut, np.zeros(RATE // 5, np.float32)]))
    finished, unfinished, cut_off = (judged(detector, *audio) for audio in (whole, comma, begun))
    assert sum(probability > 0.9 for probability in finished) >= 3
    assert max(unfinished) < 0.3
    assert np.mean(finished) > np.mean(cut_off) + 0.25


@needs_file
def test_our_features_give_the_probability_of_the_twin(detector, reading):
    audio = reading[: 8 * RATE]
    features = log_mel_ref.log_mel(audio).astype(np.float32)[np.newaxis]
    expected = detector._session.run(None, {"input_features": features})[0][0, 0]
    assert judged(detector, audio)[0] == pytest.approx(expected, abs=0.02)


@needs_file
def test_a_batch_gives_what_its_questions_give_alone(detector, reading):
    pieces = [reading[: 3 * RATE], reading[: 9 * RATE], reading[:1]]
    assert judged(detector, *pieces) == [judged(detector, piece)[0] for piece in pieces]
    assert judged(detector, pieces[1]) == judged(detector, pieces[1][-8 * RATE :])
