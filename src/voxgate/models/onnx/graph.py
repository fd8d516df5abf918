"""The graph of an ONNX file: its inputs and outputs, and the purpose of each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from voxgate.errors import ModelLoadError

__all__ = ["Graph", "Inputs", "Output", "SideInput"]

_RATE = re.compile(r"(.*_)?(sr|fs|sample_?rate|sampling_?rate|rate)(_hz)?", re.IGNORECASE)
_LENGTHS = re.compile(r"(.*[a-z_])?(lens?|lengths?|n_?samples|num_?samples)", re.IGNORECASE)
_MASK = re.compile(r"attention_?mask", re.IGNORECASE)
"""The names of other inputs than the waveform. Not `padding_mask`: in some models it has the opposite meaning."""

_RATE_KEYS = ("sample_rate", "sampling_rate", "samplerate", "sr", "fs")

_NUMBERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32}
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLAGS = {**_NUMBERS, "tensor(bool)": np.bool_}

_FEWEST_SAMPLES = 160
"""An input of a smaller fixed size takes features, not a waveform."""


@dataclass(frozen=True, slots=True)
class SideInput:
    """Another input than the waveform."""

    name: str
    dtype: type[Any]
    rank: int
    first_axis: int | str | None
    """Its size, or the exporter's name for it."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a model, by purpose."""

    waveform: str
    rank: int
    """1: (samples,), 2: (batch, samples), 3: (batch, 1, samples)."""
    takes_batches: bool
    batch_axis: int | str | None
    """Its size, or the exporter's name for it."""
    n_samples: int | None
    """The only length that the model takes; None: any."""
    rate: SideInput | None
    lengths: SideInput | None
    mask: SideInput | None

    def is_shared(self, side: SideInput) -> bool:
        """Whether an input takes one value, or one row of values, for all items of a batch."""
        return side.rank == 0 or side.first_axis == 1 or (side.rank == 1 and self.rank == 1)

    @property
    def shared(self) -> SideInput | None:
        """The first of lengths and mask that takes one value for all items."""
        return next((side for side in (self.lengths, self.mask) if side and self.is_shared(side)), None)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a model."""

    name: str
    has_batch: bool
    """Whether the first axis is the batch."""
    shape: tuple[int | None, ...] | None
    """The shape of one item, without the batch axis. None, as a whole or for an axis: unknown before the model runs."""

    @property
    def n_values(self) -> int | None:
        """The number of values of one item, where the model declares it."""
        if self.shape is None:
            return None
        sizes = [size for size in self.shape if size is not None]
        return math.prod(sizes) if len(sizes) == len(self.shape) else None

    @property
    def n_last(self) -> int | None:
        """The size of the last axis, where the model declares it."""
        return self.shape[-1] if self.shape else None


class Graph:
    """The inputs and outputs of an onnxruntime session. Any thread."""

    def __init__(self, spec: str, session: Any) -> None:
        """`spec`: the name of the model, for errors; `session`: an InferenceSession."""
        self._spec = spec
        self._session = session

    def refuse(self, text: str) -> NoReturn:
        """Raise ModelLoadError with the name of the model and `text`."""
        raise ModelLoadError(f"model {self._spec!r}: {text}")

    def find_inputs(self, given: Mapping[str, str]) -> Inputs:
        """The purpose of every input.

        `given`: names of inputs by option (input, rate_input, lengths_input, mask_input); the others are found by their
        form and name. Raises ModelLoadError, with the inputs of the model, when one has no purpose or two may be the
        waveform.
        """
        found = {argument.name: argument for argument in self._session.get_inputs()}
        for option, name in given.items():
            if name not in found:
                self.refuse(f"{option}: it has no input {name!r}; its inputs are {_described(found.values())}")
        beside = {
            "rate_input": self._find_side(found, given, "rate_input", _RATE, _NUMBERS, (0, 1)),
            "lengths_input": self._find_side(found, given, "lengths_input", _LENGTHS, _INTEGERS, (0, 1)),
            "mask_input": self._find_side(found, given, "mask_input", _MASK, _FLAGS, (2,)),
        }
        taken = {side.name for side in beside.values() if side is not None}
        waveforms = [given["input"]] if "input" in given else [n for n in found if n not in taken and _fits(found[n])]
        if len(waveforms) > 1:
            self.refuse(
                f"which input takes the waveform? {', '.join(map(repr, waveforms))} could: name one with the option"
                f" input; its inputs are {_described(found.values())}"
            )
        if not waveforms or not _fits(found[waveforms[0]]):
            self.refuse(
                "expected an input that takes a waveform: float32, of shape (samples,), (batch, samples) or"
                f" (batch, 1, samples); its inputs are {_described(found.values())}"
            )
        unknown = [name for name in found if name not in taken and name != waveforms[0]]
        if unknown:
            self.refuse(
                f"nothing is known to put into its input {', '.join(map(repr, unknown))}: expected a waveform, and at"
                " most a sample rate, lengths and an attention mask beside it (name them with rate_input,"
                f" lengths_input, mask_input); its inputs are {_described(found.values())}"
            )
        shape = found[waveforms[0]].shape
        return Inputs(
            waveform=waveforms[0],
            rank=len(shape),
            takes_batches=len(shape) > 1 and not isinstance(shape[0], int),
            batch_axis=shape[0] if len(shape) > 1 else None,
            n_samples=shape[-1] if isinstance(shape[-1], int) else None,
            rate=beside["rate_input"],
            lengths=beside["lengths_input"],
            mask=beside["mask_input"],
        )

    def _find_side(
        self,
        found: Mapping[str, Any],
        given: Mapping[str, str],
        option: str,
        names: re.Pattern[str],
        types: Mapping[str, type[Any]],
        ranks: tuple[int, ...],
    ) -> SideInput | None:
        def fits(name: str) -> bool:
            return found[name].type in types and len(found[name].shape) in ranks

        if option in given:
            name = given[option]
            if not fits(name):
                self.refuse(
                    f"{option}: expected a tensor of {', '.join(_type(kind) for kind in types)} with"
                    f" {' or '.join(map(str, ranks))} axes, not {_described([found[name]])}"
                )
        else:
            fitting = [n for n in found if n not in given.values() and names.fullmatch(n) and fits(n)]
            if not fitting:
                return None
            name = fitting[0]
        shape = found[name].shape
        return SideInput(name, types[found[name].type], len(shape), shape[0] if shape else None)

    def find_outputs(self, wanted: str | Sequence[str] | None, inputs: Inputs) -> list[Output]:
        """The outputs named in `wanted`; None: all. Raises ModelLoadError for an unknown name, and for an output that
        is not a tensor.
        """
        found = {argument.name: argument for argument in self._session.get_outputs()}
        names = list(found) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
        unknown = [name for name in names if name not in found]
        if unknown:
            self.refuse(f"outputs: it has no output {unknown[0]!r}; its outputs are {_described(found.values())}")
        return [self._output(found[name], inputs) for name in names]

    def _output(self, argument: Any, inputs: Inputs) -> Output:
        if not argument.type.startswith("tensor("):
            self.refuse(f"expected outputs that are tensors, but {argument.name!r} is a {argument.type}")
        if argument.shape is None:
            return Output(argument.name, inputs.takes_batches, None)
        sizes = tuple(size if isinstance(size, int) else None for size in argument.shape)
        has_batch = bool(inputs.rank > 1 and sizes) and sizes[0] == (None if inputs.takes_batches else 1)
        return Output(argument.name, has_batch, sizes[1:] if has_batch else sizes)

    def metadata_rate(self) -> int:
        """The sample rate in the file's metadata, in Hz, or else 16000. Raises ModelLoadError for other text."""
        metadata = self._session.get_modelmeta().custom_metadata_map
        for key in _RATE_KEYS:
            if key in metadata:
                try:
                    return int(metadata[key])
                except ValueError:
                    self.refuse(f"its metadata {key} is {metadata[key]!r}: expected Hz; set the option sample_rate")
        return 16_000

    def describe_outputs(self) -> str:
        """The outputs, for an error: ``'scores' float (batch, 3)``."""
        return _described(self._session.get_outputs())


def _fits(argument: Any) -> bool:
    """Whether an input has the form of a waveform."""
    shape = argument.shape
    if argument.type != "tensor(float)" or not 1 <= len(shape) <= 3:
        return False
    n_samples = shape[-1]
    if isinstance(n_samples, int) and n_samples < _FEWEST_SAMPLES:
        return False
    return all(size == 1 or not isinstance(size, int) for size in shape[:-1])


def _type(kind: str) -> str:
    return kind.removeprefix("tensor(").removesuffix(")")


def _described(arguments: Any) -> str:
    """Inputs or outputs for an error: 'audio' float (batch, samples)."""
    texts = []
    for argument in arguments:
        sizes = ", ".join("?" if size is None else str(size) for size in argument.shape or ())
        texts.append(f"{argument.name!r} {_type(argument.type)} ({sizes})")
    return ", ".join(texts) or "none"
