"""The Silero network as an ONNX graph built from the same weights: the opponent in bench/, a second opinion in tests.

It is the graph of the published v6 model for 16 kHz, without that model's branch for 8 kHz, which would only slow it.
Needs the packages onnx and onnxruntime; callers skip without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def build(weights: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """`(input (batch, 576), state (2, batch, 128)) -> (output (batch, 1), stateN (2, batch, 128))`, serialized."""
    from onnx import TensorProto, helper, numpy_helper

    constants: dict[str, npt.NDArray[Any]] = {
        "stft.basis": weights["stft.basis"][:, None, :],
        "pads": np.array([0, 0, 0, 64], np.int64),
        "axis0": np.array([0], np.int64),
        "axis1": np.array([1], np.int64),
        "axis2": np.array([2], np.int64),
        "start_re": np.array([0], np.int64),
        "start_im": np.array([129], np.int64),
        "end_im": np.array([258], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "zero": np.array([0], np.int64),
        "out.weight": weights["out.weight"][None, :, None],
        "out.bias": weights["out.bias"].reshape(1),
    }
    for layer in range(4):
        constants[f"conv{layer}.weight"] = weights[f"conv{layer}.weight"]
        constants[f"conv{layer}.bias"] = weights[f"conv{layer}.bias"]

    def iofc(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        i, f, g, o = np.split(x, 4)
        return np.concatenate([i, o, f, g])[None]

    constants["lstm.w"] = iofc(weights["lstm.weight_ih"])
    constants["lstm.r"] = iofc(weights["lstm.weight_hh"])
    constants["lstm.b"] = np.concatenate([iofc(weights["lstm.bias_ih"]), iofc(weights["lstm.bias_hh"])], axis=1)

    node = helper.make_node
    nodes = [
        node("Pad", ["input", "pads"], ["padded"], mode="reflect"),
        node("Unsqueeze", ["padded", "axis1"], ["wave"]),
        node("Conv", ["wave", "stft.basis"], ["spectrum"], strides=[128]),
        node("Slice", ["spectrum", "start_re", "start_im", "axis1"], ["re"]),
        node("Slice", ["spectrum", "start_im", "end_im", "axis1"], ["im"]),
        node("Mul", ["re", "re"], ["re2"]),
        node("Mul", ["im", "im"], ["im2"]),
        node("Add", ["re2", "im2"], ["power"]),
        node("Sqrt", ["power"], ["relu-1"]),
    ]
    for layer, stride in enumerate((1, 2, 2, 1)):
        inputs = [f"relu{layer - 1}", f"conv{layer}.weight", f"conv{layer}.bias"]
        nodes.append(node("Conv", inputs, [f"conv{layer}"], pads=[1, 1], strides=[stride]))
        nodes.append(node("Relu", [f"conv{layer}"], [f"relu{layer}"]))
    nodes += [
        node("Transpose", ["relu3"], ["sequence"], perm=[2, 0, 1]),
        node("Slice", ["state", "zero", "one", "axis0"], ["h"]),
        node("Slice", ["state", "one", "two", "axis0"], ["c"]),
        node("LSTM", ["sequence", "lstm.w", "lstm.r", "lstm.b", "", "h", "c"], ["", "hn", "cn"], hidden_size=128),
        node("Concat", ["hn", "cn"], ["stateN"], axis=0),
        node("Relu", ["hn"], ["hidden"]),
        node("Transpose", ["hidden"], ["column"], perm=[1, 2, 0]),
        node("Conv", ["column", "out.weight", "out.bias"], ["logit"]),
        node("Sigmoid", ["logit"], ["probability"]),
        node("Squeeze", ["probability", "axis2"], ["output"]),
    ]
    real = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "silero",
        [
            helper.make_tensor_value_info("input", real, ["batch", 576]),
            helper.make_tensor_value_info("state", real, [2, "batch", 128]),
        ],
        [
            helper.make_tensor_value_info("output", real, ["batch", 1]),
            helper.make_tensor_value_info("stateN", real, [2, "batch", 128]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


class SileroOnnx:
    """`batch` channels stepped together by onnxruntime on one thread."""

    def __init__(self, model: bytes, batch: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = np.zeros((batch, 576), np.float32)
        self._state = np.zeros((2, batch, 128), np.float32)

    def step(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """frames (batch, 512) -> probabilities (batch,)."""
        self._input[:, :64] = self._input[:, 512:]
        self._input[:, 64:] = frames
        output, self._state = self._session.run(None, {"input": self._input, "state": self._state})
        return output[:, 0]
