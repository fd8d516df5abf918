"""Runs an ONNX file of the Smart Turn v3 family (https://github.com/pipecat-ai/smart-turn)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from voxgate.errors import ConfigError
from voxgate.vad.turns.base import TurnDetector, TurnQuestion
from voxgate.vad.turns.float_softmax import with_float_softmax
from voxgate.vad.turns.log_mel import BANDS, HOP_SAMPLES, SAMPLE_RATE, log_mel

__all__ = ["SmartTurn"]

WINDOW_S: Final = 8
_FRAMES: Final = WINDOW_S * SAMPLE_RATE // HOP_SAMPLES


class SmartTurn(TurnDetector):
    """A network that listens to the last 8 s: how somebody speaks, not only what. It needs no text.

    Its input is the log-mel spectrogram of Whisper, float32, shape (1, 80, 800), of the audio with silence before it;
    its output is the probability. Questions of a batch run one by one: on a CPU, a joint run takes as long, and so no
    answer depends on other streams.
    """

    sample_rate: ClassVar[int] = SAMPLE_RATE
    window_s: ClassVar[float] = WINDOW_S

    def __init__(self, path: str) -> None:
        """Raises ConfigError when onnxruntime or the file is missing, or the file holds another model."""
        name = f"turn detector 'smart-turn:{path}'"
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise ConfigError(f"{name} needs onnxruntime ({error}): pip install 'voxgate[onnx]'") from None
        if not Path(path).is_file():
            raise ConfigError(f"{name}: there is no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            model, n_added = with_float_softmax(Path(path).read_bytes())
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ConfigError(f"{name} cannot be loaded: {error}") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        outputs = outputs[: len(outputs) - n_added]
        shapes = [list(value.shape[1:]) for value in (*inputs, *outputs)]
        if shapes != [[BANDS, _FRAMES], [1]]:
            raise ConfigError(
                f"{name} is another model: expected one input (batch, {BANDS}, {_FRAMES}) and one output (batch, 1), "
                f"got {[value.shape for value in inputs]} and {[value.shape for value in outputs]}"
            )
        self._input, self._output = inputs[0].name, outputs[0].name

    def judge(self, questions: Sequence[TurnQuestion]) -> npt.NDArray[np.floating]:
        return np.array([self._probability(question.audio) for question in questions])

    def _probability(self, audio: npt.NDArray[np.float32]) -> float:
        n_silent = max(0, WINDOW_S * SAMPLE_RATE - len(audio))
        window = np.concatenate([np.zeros(n_silent, np.float32), audio[-WINDOW_S * SAMPLE_RATE :]])
        return float(self._session.run([self._output], {self._input: log_mel(window, n_silent)[np.newaxis]})[0][0, 0])
