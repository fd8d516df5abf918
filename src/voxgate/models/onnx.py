"""Any ONNX model that takes a waveform, through onnxruntime."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from voxgate.errors import InferenceError, ModelLoadError
from voxgate.models.base import Batch, Lengths, Model, Samples
from voxgate.models.optional import Needs

__all__ = ["Onnx"]

logger = logging.getLogger("voxgate.models.onnx")

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Batching = Literal["padded", "equal", "off"]

_RATE = re.compile(r"(.*_)?(sr|fs|sample_?rate|sampling_?rate|rate)(_hz)?", re.IGNORECASE)
_LENGTHS = re.compile(r"(.*[a-z_])?(lens?|lengths?|n_?samples|num_?samples)", re.IGNORECASE)
_MASK = re.compile(r"attention_?mask", re.IGNORECASE)
"""How exporters call the inputs beside the waveform. (A `padding_mask` means the opposite in some: not guessed.)"""

_RATE_KEYS = ("sample_rate", "sampling_rate", "samplerate", "sr", "fs")
_RESERVED = frozenset(("type", "channel", "start_time", "end_time", "is_final"))

_NUMBERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32}
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLAGS = {**_NUMBERS, "tensor(bool)": np.bool_}

_FEWEST_SAMPLES = 160
"""A model that takes exactly so many values and no more takes features, not a waveform."""
_TOLERANCE = 1e-3
"""Between the answers to an item alone and in a batch: room for another order of summation, not for padding."""


@dataclass(frozen=True, slots=True)
class _Side:
    """An input beside the waveform."""

    name: str
    dtype: type[Any]
    rank: int
    first_axis: int | str | None
    """Its size, or what the exporter called it."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    waveform: str
    rank: int
    """1: (samples,), 2: (batch, samples), 3: (batch, 1, samples)."""
    takes_batches: bool
    batch_axis: int | str | None
    """Its size, or what the exporter called it."""
    n_samples: int | None
    """The only length the model takes; None: any."""
    rate: _Side | None
    lengths: _Side | None
    mask: _Side | None


@dataclass(frozen=True, slots=True)
class _Output:
    name: str
    has_batch: bool
    """The first axis counts the items."""
    shape: tuple[int | None, ...] | None
    """Of one item, without the batch axis; None stands for what is only known when the model has run."""

    @property
    def n_values(self) -> int | None:
        """Of one item, where the model declares a fixed number."""
        if self.shape is None:
            return None
        sizes = [size for size in self.shape if size is not None]
        return math.prod(sizes) if len(sizes) == len(self.shape) else None

    @property
    def n_last(self) -> int | None:
        """Size of the last axis, where the model declares it."""
        return self.shape[-1] if self.shape else None


class Onnx(Model):
    """An ONNX file with a waveform as its input, run by onnxruntime.

    **Inputs.** One float32 input is the waveform: shape (samples,), (batch, samples) or (batch, 1, samples), where
    samples may also be a fixed number: shorter audio is then filled up with zeros, longer audio is refused. Beside
    it the model may have an input for the sample rate (``sr``, ``sample_rate`` ...: gets Hz), one for the lengths
    (``lengths``, ``audio_len`` ...: gets the samples of each item) and an ``attention_mask`` (gets 1 for audio, 0 for
    padding); any other input, such as a state, is refused when the model is loaded.

    **The answer** has a key for each output: a number where the model declares a single value per item, a (nested)
    list otherwise. With `labels`, the scores of one output become ``label`` and ``score`` of the best, and ``labels``,
    a list of the best few as ``{"label", "score"}``; an output with more axes is averaged over all but the last.

    **Batches** are used where the file has a dynamic batch axis. Items of different lengths are padded with zeros only
    when that cannot change an answer: the model takes lengths or a mask, and says per item a fixed number of values;
    or it takes one fixed length. Otherwise only items of equal length share a call. :meth:`warm_up` tries a batch and
    compares it with single calls; when they differ, it says so in the log and goes to the next safer way.

    Several calls run at once, each on `threads` threads; onnxruntime releases the GIL.
    """

    name = "onnx"
    needs: ClassVar[Needs] = Needs("onnx", "onnxruntime", "onnx")

    def __init__(
        self,
        path: str,
        *,
        sample_rate: int | None = None,
        threads: int = 1,
        labels: str | Sequence[str] | None = None,
        top: int = 5,
        activation: str = "none",
        outputs: str | Sequence[str] | None = None,
        max_values: int = 4096,
        min_samples: int = 1,
        batch: str = "auto",
        input: str | None = None,
        rate_input: str | None = None,
        lengths_input: str | None = None,
        mask_input: str | None = None,
        providers: str | Sequence[str] = "CPUExecutionProvider",
    ) -> None:
        """`path`: the file; relative to the current directory, ``~`` is the user's home.

        sample_rate: Hz; None: what the file's metadata says (`sample_rate` or its like), or else 16000. threads: of one
        call, 1..256. labels: a list, or a file with one label a line or a JSON list. top: how many labels are sent.
        activation: "none", "softmax" or "sigmoid", over the last axis of the output that the labels name.
        outputs: the names of those which are sent; all, or with labels the scores alone, when absent. max_values: most
        numbers that one output may send. min_samples: shorter audio is filled up with zeros to this length. batch:
        "auto", "padded" (also where an answer could change), "equal" or "off". input, rate_input, lengths_input,
        mask_input: the names of inputs that are not found by their form and names. providers: onnxruntime's.

        Raises ValueError for an option out of range; ModelLoadError without onnxruntime, for a file that cannot be
        loaded, and for a model whose inputs cannot be filled, naming those found.
        """
        for option, number, lowest, highest in (
            ("threads", threads, 1, 256),
            ("top", top, 1, 1000),
            ("max_values", max_values, 1, 1_000_000),
            ("min_samples", min_samples, 1, 10_000_000),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
                raise ValueError(f"{option} must be an integer of {lowest}..{highest}, not {number!r}")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}, not {activation!r}")
        if batch not in ("auto", "padded", "equal", "off"):
            raise ValueError(f"batch must be one of auto, padded, equal, off, not {batch!r}")
        self._spec = f"onnx:{path}"
        self._labels = None if labels is None else _read_labels(labels)
        self._top, self._activate, self._max_values = top, _ACTIVATIONS[activation], max_values
        self._session = self._load(path, threads, [providers] if isinstance(providers, str) else list(providers))
        given = {"input": input, "rate_input": rate_input, "lengths_input": lengths_input, "mask_input": mask_input}
        self._inputs = self._find_inputs({option: name for option, name in given.items() if name is not None})
        self._min_samples = min_samples
        self._outputs = self._find_outputs(outputs)
        self._scores = self._find_scores()
        if self._scores is not None and outputs is None:
            self._outputs = []
        self._check_outputs()
        self._sent = [*([self._scores] if self._scores else []), *self._outputs]
        self.name = f"onnx:{os.path.basename(path)}"
        self.sample_rate = self._metadata_rate() if sample_rate is None else sample_rate
        self.threads = None if threads == 1 else max(1, (os.cpu_count() or 1) // threads)
        self._choice = batch
        self._batching = self._choose_batching(batch)

    # --- what is in the file ---

    def _refuse(self, text: str, cause: BaseException | None = None) -> NoReturn:
        raise ModelLoadError(f"model {self._spec!r}: {text}") from cause

    def _load(self, path: str, threads: int, providers: list[str]) -> Any:
        place = os.path.expanduser(path)
        if not os.path.isfile(place):
            self._refuse(f"expected the path of a file, but there is none at {os.path.abspath(place)}")
        runtime = self.needs.load()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # What goes wrong is raised; who failed and how often is logged by the engine.
        options.enable_mem_pattern = False  # It keeps a plan for every length of audio that ever came.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # Waiting threads leave the CPU alone.
        unknown = set(providers) - set(runtime.get_available_providers())
        if unknown:
            raise ValueError(
                f"providers: expected some of {', '.join(runtime.get_available_providers())},"
                f" not {', '.join(sorted(unknown))}"
            )
        try:
            return runtime.InferenceSession(place, options, providers=providers)
        except Exception as error:
            self._refuse(f"onnxruntime cannot load it: {str(error).strip().splitlines()[0]}", error)

    def _find_inputs(self, given: Mapping[str, str]) -> _Inputs:
        found = {argument.name: argument for argument in self._session.get_inputs()}
        for option, name in given.items():
            if name not in found:
                self._refuse(f"{option}: it has no input {name!r}; its inputs are {_described(found.values())}")
        beside = {
            "rate_input": self._find_side(found, given, "rate_input", _RATE, _NUMBERS, (0, 1)),
            "lengths_input": self._find_side(found, given, "lengths_input", _LENGTHS, _INTEGERS, (0, 1)),
            "mask_input": self._find_side(found, given, "mask_input", _MASK, _FLAGS, (2,)),
        }
        taken = {side.name for side in beside.values() if side is not None}
        waveforms = [given["input"]] if "input" in given else [n for n in found if n not in taken and _fits(found[n])]
        if len(waveforms) > 1:
            self._refuse(
                f"which input takes the waveform? {', '.join(map(repr, waveforms))} could: name one with the option"
                f" input; its inputs are {_described(found.values())}"
            )
        if not waveforms or not _fits(found[waveforms[0]]):
            self._refuse(
                "expected an input that takes a waveform: float32, of shape (samples,), (batch, samples) or"
                f" (batch, 1, samples); its inputs are {_described(found.values())}"
            )
        unknown = [name for name in found if name not in taken and name != waveforms[0]]
        if unknown:
            self._refuse(
                f"nothing is known to put into its input {', '.join(map(repr, unknown))}: expected a waveform, and at"
                " most a sample rate, lengths and an attention mask beside it (name them with rate_input,"
                f" lengths_input, mask_input); its inputs are {_described(found.values())}"
            )
        shape = found[waveforms[0]].shape
        return _Inputs(
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
    ) -> _Side | None:
        def fits(name: str) -> bool:
            return found[name].type in types and len(found[name].shape) in ranks

        if option in given:
            name = given[option]
            if not fits(name):
                self._refuse(
                    f"{option}: expected a tensor of {', '.join(_type(kind) for kind in types)} with"
                    f" {' or '.join(map(str, ranks))} axes, not {_described([found[name]])}"
                )
        else:
            fitting = [n for n in found if n not in given.values() and names.fullmatch(n) and fits(n)]
            if not fitting:
                return None
            name = fitting[0]
        shape = found[name].shape
        return _Side(name, types[found[name].type], len(shape), shape[0] if shape else None)

    def _find_outputs(self, wanted: str | Sequence[str] | None) -> list[_Output]:
        found = {argument.name: argument for argument in self._session.get_outputs()}
        names = list(found) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
        unknown = [name for name in names if name not in found]
        if unknown:
            self._refuse(f"outputs: it has no output {unknown[0]!r}; its outputs are {_described(found.values())}")
        return [self._output(found[name]) for name in names]

    def _output(self, argument: Any) -> _Output:
        if not argument.type.startswith("tensor("):
            self._refuse(f"expected outputs that are tensors, but {argument.name!r} is a {argument.type}")
        if argument.shape is None:
            return _Output(argument.name, self._inputs.takes_batches, None)
        sizes = tuple(size if isinstance(size, int) else None for size in argument.shape)
        has_batch = bool(self._inputs.rank > 1 and sizes) and sizes[0] == (None if self._inputs.takes_batches else 1)
        return _Output(argument.name, has_batch, sizes[1:] if has_batch else sizes)

    def _find_scores(self) -> _Output | None:
        """The output whose last axis the labels name."""
        if self._labels is None:
            return None
        n = len(self._labels)
        fitting = [output for output in self._outputs if output.n_last == n]
        fitting = fitting or [output for output in self._outputs if output.n_last is None and output.shape != ()]
        if not fitting:
            self._refuse(
                f"labels: there are {n}, but no output whose last axis has that size; its outputs are"
                f" {_described(self._session.get_outputs())}"
            )
        return fitting[0]

    def _check_outputs(self) -> None:
        for output in self._outputs:
            if output.name in _RESERVED or (self._scores and output.name in ("label", "score", "labels")):
                self._refuse(
                    f"the name of its output {output.name!r} has another meaning in an answer: leave it out by naming"
                    f" the others with the option outputs; its outputs are {_described(self._session.get_outputs())}"
                )
            if output.n_values is not None and output.n_values > self._max_values:
                self._refuse(self._too_large(output.name, output.n_values))

    def _too_large(self, name: str, n_values: int) -> str:
        return (
            f"output {name!r} has {n_values} values, but at most {self._max_values} are sent (max_values):"
            " name the outputs to send (outputs), or raise the limit"
        )

    def _metadata_rate(self) -> int:
        metadata = self._session.get_modelmeta().custom_metadata_map
        for key in _RATE_KEYS:
            if key in metadata:
                try:
                    return int(metadata[key])
                except ValueError:
                    self._refuse(f"its metadata {key} is {metadata[key]!r}: expected Hz; set the option sample_rate")
        return 16_000

    def _choose_batching(self, batch: str) -> Batching:
        inputs = self._inputs
        if batch == "off" or not inputs.takes_batches:
            return "off"
        for_all = next(
            (side.name for side in (inputs.lengths, inputs.mask) if side and _is_for_all(side, inputs)), None
        )
        if batch == "padded" and for_all is not None:
            self._refuse(f"batch: expected no 'padded', for its input {for_all!r} takes one value for all items")
        if batch == "equal" or batch == "padded":
            return "equal" if batch == "equal" else "padded"
        knows_lengths = (inputs.lengths or inputs.mask) is not None and for_all is None
        if inputs.n_samples is not None and for_all is None:
            return "padded"
        return "padded" if knows_lengths and all(output.n_values is not None for output in self._sent) else "equal"

    # --- running it ---

    @property
    def batches(self) -> bool:
        """True when the file has a dynamic batch axis, and its use is not switched off."""
        return self._batching != "off"

    def warm_up(self) -> None:
        self.infer(self._noise(1.0))
        while self._choice == "auto" and self._batching != "off" and (reason := self._batch_differs()):
            safer: Batching = "equal" if self._batching == "padded" else "off"
            logger.warning(
                "model %r answers otherwise in a batch (%s, %s): using batch = %r from here on",
                self.name,
                self._batching,
                reason,
                safer,
            )
            self._batching = safer

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        return self._infer_rows(audio[None, :], np.array([len(audio)], np.int64))[0]

    def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        if self._batching == "off":
            return [self.infer(audio) for audio in batch]
        if self._batching == "padded":
            return self._infer_rows(batch.audio, batch.lengths)
        answers: list[Mapping[str, Any]] = [{}] * len(batch)
        for length in np.unique(batch.lengths):
            places = np.flatnonzero(batch.lengths == length)
            found = self._infer_rows(batch.audio[places, :length], batch.lengths[places])
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    def close(self) -> None:
        self._session = None

    def _infer_rows(self, rows: Samples, lengths: Lengths) -> list[Mapping[str, Any]]:
        """One run of the session: rows (items, samples), padded with zeros behind `lengths`."""
        only = self._inputs.n_samples
        width = rows.shape[1]
        if only is not None and width > only:
            raise InferenceError(
                f"The model takes at most {only / self.sample_rate:.2f} s of audio,"
                f" not {width / self.sample_rate:.2f} s"
            )
        if width < (least := only or self._min_samples):
            rows = np.pad(rows, ((0, 0), (0, least - width)))
        # What fills up a short item counts as audio, unless the model takes one length only and is told what is audio.
        lengths = np.maximum(lengths, self._min_samples if only is None else 1)
        return self._answers(self._run(np.ascontiguousarray(rows), lengths), len(rows))

    def _run(self, rows: Samples, lengths: Lengths) -> dict[str, Array]:
        inputs = self._inputs
        shape = (rows.shape[1],) if inputs.rank == 1 else (len(rows), *(1,) * (inputs.rank - 2), rows.shape[1])
        feed: dict[str, Array] = {inputs.waveform: rows.reshape(shape)}
        if side := inputs.rate:
            shape = () if side.rank == 0 else (1,) if _is_for_all(side, inputs) else (len(rows),)
            feed[side.name] = np.full(shape, self.sample_rate, side.dtype)
        if side := inputs.lengths:
            told = lengths[:1] if _is_for_all(side, inputs) else lengths
            feed[side.name] = told.astype(side.dtype).reshape(told.shape if side.rank else ())
        if side := inputs.mask:
            mask = (np.arange(rows.shape[1]) < lengths[:, None]).astype(side.dtype)
            feed[side.name] = mask[:1] if _is_for_all(side, inputs) else mask
        names = list({output.name: None for output in self._sent})
        return dict(zip(names, self._session.run(names, feed), strict=True))

    def _answers(self, arrays: Mapping[str, Array], n_items: int) -> list[Mapping[str, Any]]:
        items = {output.name: _items(output, arrays[output.name], n_items) for output in self._sent}
        answers: list[Mapping[str, Any]] = []
        for i in range(n_items):
            answer: dict[str, Any] = {}
            if self._scores is not None:
                answer.update(self._ranked(items[self._scores.name][i]))
            for output in self._outputs:
                value = items[output.name][i]
                if value.size > self._max_values:
                    raise InferenceError(self._too_large(output.name, value.size))
                plain = _plain(value)
                is_number = output.n_values == plain.size == 1
                answer[output.name] = plain.reshape(-1).tolist()[0] if is_number else plain.tolist()
            answers.append(answer)
        return answers

    def _ranked(self, scores: Array) -> dict[str, Any]:
        labels = self._labels or []
        if scores.ndim == 0 or scores.shape[-1] != len(labels):
            raise ValueError(f"the scores have shape {scores.shape}, but there are {len(labels)} labels")
        if scores.size == 0:
            raise InferenceError("The audio is too short for this model")
        values = self._activate(scores.astype(np.float64)).reshape(-1, len(labels)).mean(axis=0)
        best = np.argsort(-values, kind="stable")[: self._top]
        ranking = [{"label": labels[i], "score": round(float(values[i]), 6)} for i in best]
        return {**ranking[0], "labels": ranking}

    # --- does a batch change an answer? ---

    def _noise(self, seconds: float) -> Samples:
        n = max(self._min_samples, round(seconds * self.sample_rate))
        n = min(n, self._inputs.n_samples or n)
        noise: Samples = (0.1 * np.random.default_rng(0).standard_normal(n)).astype(np.float32)
        return noise

    def _batch_differs(self) -> str:
        """Why a batch of two may not be used, or nothing."""
        items = [self._noise(1.0), self._noise(0.5 if self._batching == "padded" else 1.0)[::-1].copy()]
        try:
            together = self.infer_batch(Batch.gather(items))
            alone = [self.infer(item) for item in items]
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        for one, other in zip(together, alone, strict=True):
            for key in other:
                if key != "label" and not _same(one[key], other[key]):
                    return f"output {key!r}"
        return ""


def _is_for_all(side: _Side, inputs: _Inputs) -> bool:
    """Whether an input beside the waveform takes one value (or one row of them) for all items of a batch."""
    if side.rank == 0 or side.first_axis == 1:
        return True
    return side.rank == 1 and inputs.rank == 1


def _items(output: _Output, array: Any, n_items: int) -> Sequence[Array]:
    """The values of each item."""
    array = np.asarray(array)
    if not output.has_batch and n_items == 1:
        return [array]
    if not output.has_batch or array.ndim == 0 or array.shape[0] != n_items:
        raise ValueError(
            f"output {output.name!r} has shape {array.shape}: expected {n_items} items along its first axis"
        )
    return list(array)


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _sigmoid(scores: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scores)))


_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "none": lambda scores: scores,
    "softmax": _softmax,
    "sigmoid": _sigmoid,
}


def _plain(value: Array) -> Array:
    """float32 as the shortest double that says the same: 0.1, not 0.10000000149011612."""
    if value.dtype not in (np.float32, np.float16):
        return value
    return np.array([float(f"{number:.7g}") for number in value.reshape(-1).tolist()]).reshape(value.shape)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(one[key], other[key]) for key in other if key != "label")
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape:
        return False
    if a.dtype.kind not in "fiu":
        return [*a.reshape(-1)] == [*b.reshape(-1)] if a.dtype.kind != "O" else all(map(_same, a, b))
    return np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)


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
    """Inputs or outputs as a person reads them: 'audio' float (batch, samples)."""
    texts = []
    for argument in arguments:
        sizes = ", ".join("?" if size is None else str(size) for size in argument.shape or ())
        texts.append(f"{argument.name!r} {_type(argument.type)} ({sizes})")
    return ", ".join(texts) or "none"


def _read_labels(labels: str | Sequence[str]) -> list[str]:
    if isinstance(labels, str):
        place = os.path.expanduser(labels)
        try:
            with open(place, encoding="utf-8-sig") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"labels: expected a list, or a text file that can be read: {error}") from error
        try:
            found = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
        except ValueError as error:
            raise ValueError(f"labels: {labels!r} starts like a JSON list, but is none: {error}") from error
        while found and not str(found[-1]).strip():  # the end of the last line
            found = found[:-1]
    else:
        found = list(labels)
    if not found or not all(isinstance(label, str) for label in found):
        raise ValueError("labels: expected at least one, and nothing but strings")
    return [label.strip() for label in found]
