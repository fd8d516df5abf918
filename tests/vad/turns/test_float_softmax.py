"""The networks that onnxruntime computes with a softmax of floats, made here and read by the onnx package."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.vad.turns.float_softmax import with_float_softmax

onnx = pytest.importorskip("onnx")


def a_network(*, leaves: bool = False) -> bytes:
    """A quantised softmax behind one input of 4, and a doubled result. leaves: the softmax is an output already."""
    helper, proto = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("Softmax", ["xd"], ["shares"], axis=-1),
        helper.make_node("QuantizeLinear", ["shares", "step", "zero"], ["sq"]),
        helper.make_node("DequantizeLinear", ["sq", "step", "zero"], ["sd"]),
        helper.make_node("Add", ["sd", "sd"], ["y"]),
    ]
    constants = [
        helper.make_tensor("scale", proto.FLOAT, [], [0.1]),
        helper.make_tensor("step", proto.FLOAT, [], [1 / 256]),
        helper.make_tensor("zero", proto.UINT8, [], [0]),
    ]
    outputs = [helper.make_tensor_value_info(name, proto.FLOAT, ["n", 4]) for name in ["y", *["shares"] * leaves]]
    inputs = [helper.make_tensor_value_info("x", proto.FLOAT, ["n", 4])]
    graph = helper.make_graph(nodes, "softmax", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found: bytes = model.SerializeToString()
    return found


def test_the_softmax_becomes_the_last_output_and_nothing_else_changes():
    model, n_added = with_float_softmax(a_network())
    before, after = onnx.load_from_string(a_network()), onnx.load_from_string(model)
    assert [value.name for value in after.graph.output] == ["y", "shares"]
    assert n_added == 1
    del after.graph.output[1:]
    assert after == before


def test_a_softmax_that_is_an_output_stays_one():
    assert with_float_softmax(a_network(leaves=True)) == (a_network(leaves=True), 0)


def test_onnxruntime_computes_it_with_floats(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    found = {}
    x = np.array([[0.5, 1.0, 1.5, 2.0]], np.float32)
    for name, model in (("as it is", a_network()), ("changed", with_float_softmax(a_network())[0])):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found[name] = session.run(["y"], {"x": x})[0]
        operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
        assert ("QLinearSoftmax" in operators, "Softmax" in operators) == (
            (True, False) if name == "as it is" else (False, True)
        )
    np.testing.assert_allclose(found["changed"], found["as it is"], atol=2 * 2 / 256)
    exact = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(found["changed"], 2 * exact, atol=2 * 0.51 / 256)


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_part_of_a_file_is_no_file(cut):
    with pytest.raises(ValueError, match="no ONNX file"):
        with_float_softmax(a_network()[:-cut])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_file_or_an_error(data):
    try:
        model, n_added = with_float_softmax(data)
    except ValueError:
        return
    assert model.startswith(data)
    assert (n_added == 0) == (model == data)
