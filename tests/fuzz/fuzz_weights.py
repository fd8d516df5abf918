"""Weights files, both formats, damaged in any way: the tensors, or a WeightsError; never more memory than the file."""

from __future__ import annotations

import atexit
import json
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from fuzz.source import Source
from voxgate.errors import WeightsError
from voxgate.vad.weights import _SAFETENSORS_NAMES, SHAPES, default_path, load_weights

FOLDER = Path(tempfile.mkdtemp(prefix="voxgate-fuzz-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


@cache
def ggml() -> bytes:
    return default_path().read_bytes()


@cache
def safetensors() -> tuple[dict[str, dict[str, object]], bytes]:
    header, body, weights = {}, b"", load_weights()
    for name, ours in _SAFETENSORS_NAMES.items():
        data = weights[ours].tobytes()
        header[name] = {"dtype": "F32", "shape": list(SHAPES[ours]), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    return header, body


def fuzz(data: bytes) -> None:
    source = Source(data)
    kind = source.integer(0, 3)
    if kind == 0:
        content = bytearray(source.rest())
    elif kind <= 2:
        content = bytearray(ggml())
        for _ in range(source.integer(0, 4)):
            # The head and the tensors' headers are where a parser goes wrong; the values are most of the file.
            place = source.integer(0, 120) if source.flag() else source.integer(0, len(content) - 1)
            content[place : place + source.size(8)] = source.take(source.size(8))
        if source.flag():
            del content[source.integer(0, len(content)) :]
    else:
        header, body = safetensors()
        header = {name: dict(entry) for name, entry in header.items()}
        for _ in range(source.integer(0, 3)):
            entry = header[source.pick(sorted(header))]
            field = source.pick(["dtype", "shape", "data_offsets"])
            try:
                entry[field] = json.loads(source.json_value())
            except (ValueError, RecursionError):
                entry.pop(field, None)
        text = json.dumps(header).encode("utf-8", "replace")
        length = len(text) if source.integer(0, 3) else source.integer(0, 2**64 - 1)
        content = bytearray(struct.pack("<Q", length) + text + body[: source.integer(0, len(body))])
    path = FOLDER / "weights"
    path.write_bytes(content)
    try:
        weights = load_weights(path)
    except WeightsError as error:
        assert "\n" not in str(error)
        return
    assert {name: array.shape for name, array in weights.items()} == dict(SHAPES)
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values())


SEEDS = [
    b"\x00lmgg",
    b"\x01\x00",
    b"\x01\x02" + bytes(range(60)),
    b"\x03\x01" + bytes(range(60)),
    b"\x03\x00\x01" + b"\xff" * 9,
]
