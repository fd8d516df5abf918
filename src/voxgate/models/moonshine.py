"""Speech to text that works offline from one wheel, on one core: Moonshine tiny, run by onnxruntime."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from voxgate.errors import ModelLoadError
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.optional import Needs

__all__ = ["Moonshine", "missing", "parse_tokens", "pieces", "why_no_wheel"]

_RATE_HZ = 16_000
_WHEEL = "moonshine-voice"
_VERSION = "0.0.73"
"""The last version whose wheel contains weights."""
_ENCODER, _DECODER, _TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"

_SHORTEST_S = 0.1
_SILENCE_DBFS = -60.0
_WINDOW_S = 0.02
"""Length of the windows in which loudness is measured."""
_APPENDED_S = 0.3
"""Silence after the audio: without it the last word is often missing."""
_PIECE_S = 15.0
"""Longest audio of one pass: the network was trained on short utterances, and its cost grows with the square."""
_ROWS = 8
"""Most pieces that are decoded together; more gain nothing and hold memory."""

_BEGIN, _END = 1, 2
_TOKENS_PER_S = 6.5
_TOKENS_BESIDE = 8
_SPACE = "▁".encode()
_FRAME_SAMPLES = 384
"""Audio behind each frame that the encoder returns."""

_Floats = npt.NDArray[np.float32]


class Moonshine(Model):
    """English speech to text, offline: Moonshine tiny, with the weights from the wheel of `moonshine-voice`.

    The answer:

    ``text``
        the words with capitals and punctuation; empty for silence (no 20 ms above -60 dBFS) and for less than a tenth
        of a second of audio.

    A call takes about 2.5 % of the length of its audio on one core, uses one thread, and releases the GIL. Calls run
    beside each other. Audio longer than 15 s is split at its quietest places. Under load, pieces of
    several streams share the passes of the decoder: four take 0.65 times as long as one by one. The weights are
    quantised, and rounding then depends on what shares a pass: about one answer in forty differs by a word.
    ``batch = false`` makes every answer depend on its own audio alone.

    The package is used for its data files: its code is never imported. The networks are loaded by :meth:`warm_up` or
    by the first call.
    """

    name = "moonshine"
    sample_rate = _RATE_HZ
    needs: ClassVar[Needs] = Needs("moonshine", "moonshine_voice", "moonshine")

    def __init__(self, directory: str | None = None, *, batch: bool = True) -> None:
        """`directory`: other weights of the same form (``encoder_model.ort``, ``decoder_model_merged.ort`` and
        ``tokenizer.bin``), in place of those in the wheel. batch: decode pieces of several streams together.

        Raises ValueError for a directory without these files; ModelLoadError when a package is missing.
        """
        self._directory = _given(directory) if directory is not None else _installed()
        Needs("moonshine", "onnxruntime", "moonshine").check()
        self._rows = _ROWS if batch else 1
        self._lock = threading.Lock()
        self._networks: _Networks | None = None

    @property
    def batches(self) -> bool:
        return self._rows > 1

    def warm_up(self) -> None:
        self._ready()

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        return self._answer([audio])[0]

    def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        return self._answer(list(batch))

    def close(self) -> None:
        self._networks = None

    def _answer(self, items: Sequence[Samples]) -> list[dict[str, Any]]:
        cut = [(index, piece) for index, audio in enumerate(items) for piece in pieces(audio)]
        texts: list[list[str]] = [[] for _ in items]
        for begin in range(0, len(cut), self._rows):
            rows = cut[begin : begin + self._rows]
            for (index, _), text in zip(rows, self._ready().transcribe([piece for _, piece in rows]), strict=True):
                texts[index].append(text)
        return [{"text": " ".join(filter(None, parts))} for parts in texts]

    def _ready(self) -> _Networks:
        with self._lock:
            if self._networks is None:
                self._networks = _Networks.load(self._directory)
            return self._networks


class _Networks:
    """Encoder, decoder and vocabulary. Any thread may call :meth:`transcribe`."""

    def __init__(self, encoder: Any, decoder: Any, tokens: Sequence[bytes]) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._tokens = tokens
        self._past = {
            entry.name: (entry.shape[1], entry.shape[3])
            for entry in decoder.get_inputs()
            if entry.name.startswith("past_key_values.")
        }
        self._outputs = ["logits", *(name.replace("past_key_values", "present") for name in self._past)]

    @classmethod
    def load(cls, directory: Path) -> _Networks:
        runtime = Needs("moonshine", "onnxruntime", "moonshine").load()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # calls run beside each other instead
        options.log_severity_level = 4  # errors are raised; the engine logs them
        options.enable_mem_pattern = False  # it would keep a plan for each length of audio
        options.enable_cpu_mem_arena = False  # it would keep the memory of the longest call
        encoder, decoder = (
            runtime.InferenceSession(os.fspath(directory / name), options, providers=["CPUExecutionProvider"])
            for name in (_ENCODER, _DECODER)
        )
        return cls(encoder, decoder, parse_tokens((directory / _TOKENIZER).read_bytes()))

    def transcribe(self, audios: Sequence[Samples]) -> list[str]:
        """One text for each piece of audio, each at most about 15 s long."""
        encoded = [self._encode(audio) for audio in audios]
        longest = [int(len(audio) / _RATE_HZ * _TOKENS_PER_S) + _TOKENS_BESIDE for audio in audios]
        return [self._text(ids) for ids in self._decode(encoded, longest)]

    def _encode(self, audio: Samples) -> _Floats:
        # One at a time: the network normalises over the whole row, so padding would change the answer.
        row = np.zeros((1, len(audio) + int(_APPENDED_S * _RATE_HZ)), np.float32)
        row[0, : len(audio)] = audio
        mask = np.ones(row.shape, np.int64)
        hidden: _Floats = self._encoder.run(None, {"input_values": row, "attention_mask": mask})[0][0]
        return hidden

    def _decode(self, encoded: Sequence[_Floats], longest: Sequence[int]) -> list[list[int]]:
        """The most probable token, again and again, for all rows at once."""
        n_rows, width = len(encoded), max(map(len, encoded))
        hidden = np.zeros((n_rows, width, encoded[0].shape[1]), np.float32)
        # The graph expects a mask of samples, and reads the first of each frame.
        mask = np.zeros((n_rows, width * _FRAME_SAMPLES), np.int64)
        for row, hidden_of_one in enumerate(encoded):
            hidden[row, : len(hidden_of_one)] = hidden_of_one
            mask[row, : len(hidden_of_one) * _FRAME_SAMPLES] = 1
        feeds: dict[str, Any] = {
            "encoder_hidden_states": hidden,
            "encoder_attention_mask": mask,
            "use_cache_branch": np.array([False]),
            "input_ids": np.full((n_rows, 1), _BEGIN, np.int64),
            **{
                name: np.zeros((n_rows, heads, int(".encoder." in name), size), np.float32)
                for name, (heads, size) in self._past.items()
            },
        }
        found: list[list[int]] = [[] for _ in encoded]
        running = set(range(n_rows))
        first = True
        while running:
            logits, *present = self._decoder.run(self._outputs, feeds)
            best = logits[:, -1].argmax(axis=-1)
            for row in tuple(running):
                if best[row] != _END:
                    found[row].append(int(best[row]))
                if best[row] == _END or len(found[row]) >= longest[row]:
                    running.discard(row)
            for name, value in zip(self._past, present, strict=True):
                # The keys and values of the encoder come from the first pass alone; later passes return nothing.
                if first or ".decoder." in name:
                    feeds[name] = value
            feeds["input_ids"] = best[:, None].astype(np.int64)
            feeds["use_cache_branch"] = np.array([True])
            first = False
        return found

    def _text(self, ids: Sequence[int]) -> str:
        spelled = b"".join(self._tokens[token] for token in ids)
        # A token may be one byte of a letter, and the cap on tokens may cut a letter apart.
        return " ".join(spelled.replace(_SPACE, b" ").decode("utf-8", "ignore").split())


# --- audio ---


def pieces(audio: Samples) -> list[Samples]:
    """Views of the parts of `audio` that are worth a pass, each at most 15 s long: none when it is silent or shorter
    than 0.1 s, otherwise all of it, cut at the quietest places.
    """
    found: list[Samples] = []
    while len(audio) > _PIECE_S * _RATE_HZ:
        at = _quietest(audio)
        found.append(audio[:at])
        audio = audio[at:]
    found.append(audio)
    return [piece for piece in found if len(piece) >= _SHORTEST_S * _RATE_HZ and not _silent(piece)]


def _quietest(audio: Samples) -> int:
    """Where to cut audio of more than 15 s: the middle of its quietest tenth of a second, 7.5 to 15 s from the start
    and at least a second from the end.
    """
    window = int(_WINDOW_S * _RATE_HZ)
    low = int(_PIECE_S / 2 * _RATE_HZ)
    high = min(int(_PIECE_S * _RATE_HZ), len(audio) - _RATE_HZ)
    levels = np.convolve(_levels(audio[low:high]), np.ones(5), mode="valid")
    return low + (int(levels.argmin()) + 2) * window + window // 2


def _levels(audio: Samples) -> _Floats:
    """The mean power of each 20 ms; what is left at the end belongs to none."""
    window = int(_WINDOW_S * _RATE_HZ)
    whole = audio[: len(audio) // window * window].reshape(-1, window)
    levels: _Floats = np.mean(whole * whole, axis=1)
    return levels


def _silent(audio: Samples) -> bool:
    return bool(_levels(audio).max() < 10 ** (_SILENCE_DBFS / 10))


# --- files ---


def parse_tokens(data: bytes) -> list[bytes]:
    """The vocabulary in `data`, the contents of a ``tokenizer.bin``: entries in the order of their numbers, each with
    its length before it (one byte; from 128 two, of seven bits each, the lower ones first), spelled in UTF-8 with
    ``▁`` for a space, or a single byte. Markup (``<s>``, ``<<ST_1>>``) is returned as empty.

    Raises ValueError when the file ends in the middle of an entry.
    """
    tokens = []
    position = 0
    while position < len(data):
        length = data[position]
        position += 1
        if length >= 128:
            if position == len(data):
                raise ValueError("the vocabulary ends in the middle of an entry")
            length += (data[position] - 1) * 128
            position += 1
        token = data[position : position + length]
        if len(token) < length:
            raise ValueError("the vocabulary ends in the middle of an entry")
        position += length
        markup = length > 2 and token.startswith(b"<") and token.endswith(b">")
        tokens.append(b"" if markup else token)
    return tokens


def _given(directory: str) -> Path:
    if not isinstance(directory, str):
        raise ValueError(f"directory must be a path, not {directory!r}")
    place = Path(directory).expanduser()
    absent = [name for name in (_ENCODER, _DECODER, _TOKENIZER) if not (place / name).is_file()]
    if absent:
        raise ValueError(f"expected {directory!r} to be a directory with {_ENCODER}, {_DECODER} and {_TOKENIZER}")
    return place


def _installed() -> Path:
    if (reason := missing()) is not None:
        raise ModelLoadError(f"model 'moonshine' {reason}")
    place = _assets()
    assert place is not None
    return place


def missing() -> str | None:
    """None when the model can run, else the reason, as words that follow the name of the model: one line with what to
    do. Imports nothing.
    """
    if not Moonshine.needs.installed:
        if (why := why_no_wheel()) is not None:
            return f"cannot run here: {why}"
        return f"needs the package {_WHEEL}=={_VERSION}, which is not installed: {Moonshine.needs.install}"
    if _assets() is None:
        try:
            version = metadata.version(_WHEEL)
        except metadata.PackageNotFoundError:
            version = "unknown"
        return (
            f"needs {_WHEEL}=={_VERSION}, but version {version} is installed, whose wheel contains no weights:"
            f" {Moonshine.needs.install}"
        )
    if not Needs("moonshine", "onnxruntime", "moonshine").installed:
        return f"needs the package 'onnxruntime', which is not installed: {Moonshine.needs.install}"
    return None


def _assets() -> Path | None:
    """Where the weights are; None when the package or one of the files is missing. The package is not imported."""
    spec = importlib.util.find_spec(Moonshine.needs.module)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(root) / "assets" / "tiny-en"
        if all((place / name).is_file() for name in (_ENCODER, _DECODER, _TOKENIZER)):
            return place
    return None


class _Platform(NamedTuple):
    system: str
    machine: str
    libc: str
    version: tuple[int, ...]
    """Of glibc, or of macOS."""


def _here() -> _Platform:
    machine = platform.machine().lower()
    if sys.platform == "darwin":
        return _Platform("macOS", machine, "", _numbers(platform.mac_ver()[0]))
    if sys.platform == "win32":
        return _Platform("Windows", machine, "", ())
    libc, version = platform.libc_ver()
    return _Platform(platform.system(), machine, libc, _numbers(version))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def why_no_wheel(here: _Platform | None = None) -> str | None:
    """None when a wheel with the weights exists for this platform, else one line that says for which there is one."""
    here = here or _here()
    exists = (
        (
            here.system == "Linux"
            and here.machine in ("x86_64", "aarch64")
            and here.libc == "glibc"
            and here.version >= (2, 34)
        )
        or (here.system == "macOS" and here.machine == "arm64" and here.version >= (15,))
        or (here.system == "Windows" and here.machine == "amd64")
    )
    if exists:
        return None
    named = " ".join(filter(None, [here.system, here.machine, here.libc, ".".join(map(str, here.version))]))
    return (
        f"{_WHEEL} {_VERSION} has no wheel for {named}, only for Linux x86_64 and aarch64 with glibc 2.34 or newer,"
        " macOS 15 or newer on arm64, and Windows amd64"
    )
