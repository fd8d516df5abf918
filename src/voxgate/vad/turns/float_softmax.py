"""Makes onnxruntime compute the softmax of a quantised network with floats.

onnxruntime joins DequantizeLinear, Softmax and QuantizeLinear to one operator, which looks every value up in a table:
on x86-64 it took a quarter of Smart Turn's time, and vectorised floats are a tenth of that. There is no option against
this one step, but a value that leaves the network stays as it is. So the values behind each Softmax become outputs of
the network, which nobody asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["with_float_softmax"]

# Fields of onnx.proto: ModelProto, GraphProto, NodeProto, ValueInfoProto.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE: Final = 1
_GRAPH_OUTPUT: Final = 12
_NODE_OUTPUT: Final = 2
_NODE_OPERATOR: Final = 4
_VALUE_NAME: Final = 1

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5  # wire types


def with_float_softmax(model: bytes) -> tuple[bytes, int]:
    """`model`: a file in ONNX format. Returns it with more outputs, and how many they are; they come last. Raises
    ValueError when it is no such file; another one may still hold no valid network.
    """
    graphs = _of(model, _MODEL_GRAPH)
    outputs = {
        bytes(name) for graph in graphs for value in _of(graph, _GRAPH_OUTPUT) for name in _of(value, _VALUE_NAME)
    }
    names = [
        bytes(name)
        for graph in graphs
        for node in _of(graph, _GRAPH_NODE)
        if b"Softmax" in _of(node, _NODE_OPERATOR)
        for name in _of(node, _NODE_OUTPUT)
    ]
    added = [name for name in names if name not in outputs]
    # Two occurrences of a field are one message, by the rules of protobuf: no length within the file changes.
    graph = b"".join(_encoded(_GRAPH_OUTPUT, _encoded(_VALUE_NAME, name)) for name in added)
    return model + _encoded(_MODEL_GRAPH, graph) if added else model, len(added)


def _of(message: bytes | memoryview, number: int) -> list[memoryview]:
    return [value for found, value in _fields(memoryview(message)) if found == number]


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that are messages, strings or bytes, with their numbers."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
            continue
        if kind == _LENGTH:
            size, at = _varint(message, at)
        else:
            size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind, -1)
        if not 0 <= size <= len(message) - at:
            raise ValueError("no ONNX file, or a part of one")
        if kind == _LENGTH:
            yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, and the position behind it."""
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("no ONNX file, or a part of one")


def _encoded(number: int, value: bytes | memoryview) -> bytes:
    """A field with its length before it."""
    found = bytearray([number << 3 | _LENGTH])
    size = len(value)
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes(found) + bytes([size]) + bytes(value)
