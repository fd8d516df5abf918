"""Small ONNX models for the tests of `onnx:PATH`, built with the package onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper, save

FLOAT, INT64, INT32, STRING, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.STRING,
    TensorProto.BOOL,
)

Port = tuple[str, int, Sequence[int | str | None] | None]


def write(
    path: Path,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    nodes: Sequence[Any],
    constants: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Saves a graph and gives its path as text. `nodes`: (operator, inputs, outputs) and maybe a dict of attributes."""
    from onnx import numpy_helper

    graph = helper.make_graph(
        [helper.make_node(node[0], *node[1:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "test",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    save(model, path)
    return str(path)
