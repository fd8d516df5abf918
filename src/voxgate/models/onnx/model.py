"""The model of an ONNX file."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import numpy as np

from voxgate.errors import InferenceError
from voxgate.models.base import Batch, Lengths, Model, Samples
from voxgate.models.onnx.answers import is_same, items_of, shortest
from voxgate.models.onnx.graph import Graph, Output
from voxgate.models.onnx.labels import ACTIVATIONS, LabelRanking, read_labels
from voxgate.models.onnx.session import check_path, open_session
from voxgate.models.optional import Needs

__all__ = ["Onnx"]

logger = logging.getLogger("voxgate.models.onnx")

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Batching = Literal["padded", "equal", "off"]

_RESERVED: Final = frozenset(("type", "channel", "start_time", "end_time", "is_final"))
"""Keys of a segment that an output must not replace."""


class Onnx(Model):
    """An ONNX file that takes a waveform, run by onnxruntime.

    **Inputs.** One float32 input is the waveform: shape (samples,), (batch, samples) or (batch, 1, samples), where
    samples may also be a fixed number: shorter audio is then padded with zeros, longer audio is refused. The model may
    also have an input for the sample rate (``sr``, ``sample_rate`` ...: in Hz), one for the lengths (``lengths``,
    ``audio_len`` ...: the samples of each item) and an ``attention_mask`` (1 for audio, 0 for padding). A model with
    any other input, such as a state, does not load.

    **The answer** has a key for each output: a number where the model declares a single value per item, a (nested)
    list otherwise. With `labels`, the scores of one output become ``label`` and ``score`` of the best, and ``labels``,
    a list of the best few as ``{"label", "score"}``; an output with more axes is averaged over all but the last.

    **Batches** are used when the file has a dynamic batch axis. Items of different lengths are padded with zeros only
    when padding cannot change an answer: the model takes lengths or a mask and returns a fixed number of values per
    item, or it takes one fixed length. Otherwise only items of equal length share a call. :meth:`warm_up` compares a
    batch with single calls; when they differ, it logs a warning and uses the next safer way.

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

        sample_rate: Hz; None: that of the file's metadata (`sample_rate` or a similar key), or else 16000. threads: of
        one call, 1..256. labels: a list, or a file with one label a line or a JSON list. top: the number of labels in
        an answer, 1..1000. activation: "none", "softmax" or "sigmoid", over the last axis of the scores. outputs: the
        names of the outputs in an answer; None: all, or with labels the scores alone. max_values: the most numbers of
        one output in an answer. min_samples: shorter audio is padded with zeros to this length. batch: "auto", "padded"
        (even if it may change an answer), "equal" or "off". input, rate_input, lengths_input, mask_input: names of
        inputs, where their form and names are ambiguous. providers: those of onnxruntime.

        Raises ValueError for an option out of range; ModelLoadError without onnxruntime, for a file that does not load,
        and for a model with unknown inputs, naming them.
        """
        for option, number, lowest, highest in (
            ("threads", threads, 1, 256),
            ("top", top, 1, 1000),
            ("max_values", max_values, 1, 1_000_000),
            ("min_samples", min_samples, 1, 10_000_000),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
                raise ValueError(f"{option} must be an integer of {lowest}..{highest}, not {number!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        if batch not in ("auto", "padded", "equal", "off"):
            raise ValueError(f"batch must be one of auto, padded, equal, off, not {batch!r}")
        self._ranking = None if labels is None else LabelRanking(read_labels(labels), top, activation)
        self._max_values = max_values
        spec = f"onnx:{path}"
        file = check_path(spec, path)
        providers = [providers] if isinstance(providers, str) else providers
        self._session = open_session(self.needs.load(), spec, file, threads, providers)
        self._graph = Graph(spec, self._session)
        given = {"input": input, "rate_input": rate_input, "lengths_input": lengths_input, "mask_input": mask_input}
        self._inputs = self._graph.find_inputs({option: name for option, name in given.items() if name is not None})
        self._min_samples = min_samples
        self._outputs = self._graph.find_outputs(outputs, self._inputs)
        self._scores = self._find_scores()
        if self._scores is not None and outputs is None:
            self._outputs = []
        self._check_outputs()
        self._sent = [*([self._scores] if self._scores else []), *self._outputs]
        self.name = f"onnx:{os.path.basename(path)}"
        self.sample_rate = self._graph.metadata_rate() if sample_rate is None else sample_rate
        self.threads = None if threads == 1 else max(1, (os.cpu_count() or 1) // threads)
        self._choice = batch
        self._batching = self._choose_batching(batch)

    def _find_scores(self) -> Output | None:
        """The output whose last axis is the labels."""
        if self._ranking is None:
            return None
        n = len(self._ranking.labels)
        fitting = [output for output in self._outputs if output.n_last == n]
        fitting = fitting or [output for output in self._outputs if output.n_last is None and output.shape != ()]
        if not fitting:
            self._graph.refuse(
                f"labels: there are {n}, but no output whose last axis has that size; its outputs are"
                f" {self._graph.describe_outputs()}"
            )
        return fitting[0]

    def _check_outputs(self) -> None:
        for output in self._outputs:
            if output.name in _RESERVED or (self._scores and output.name in ("label", "score", "labels")):
                self._graph.refuse(
                    f"the name of its output {output.name!r} has another meaning in an answer: leave it out by naming"
                    f" the others with the option outputs; its outputs are {self._graph.describe_outputs()}"
                )
            if output.n_values is not None and output.n_values > self._max_values:
                self._graph.refuse(self._too_large(output.name, output.n_values))

    def _too_large(self, name: str, n_values: int) -> str:
        return (
            f"output {name!r} has {n_values} values, but at most {self._max_values} are sent (max_values):"
            " name the outputs to send (outputs), or raise the limit"
        )

    def _choose_batching(self, batch: str) -> Batching:
        inputs = self._inputs
        if batch == "off" or not inputs.takes_batches:
            return "off"
        shared = inputs.shared
        if batch == "padded" and shared is not None:
            self._graph.refuse(
                f"batch: expected no 'padded', because its input {shared.name!r} takes one value for all items"
            )
        if batch == "equal" or batch == "padded":
            return "equal" if batch == "equal" else "padded"
        knows_lengths = (inputs.lengths or inputs.mask) is not None and shared is None
        if inputs.n_samples is not None and shared is None:
            return "padded"
        return "padded" if knows_lengths and all(output.n_values is not None for output in self._sent) else "equal"

    @property
    def batches(self) -> bool:
        """Whether the file has a dynamic batch axis and batches are not switched off."""
        return self._batching != "off"

    def warm_up(self) -> None:
        self.infer(self._noise(1.0))
        while self._choice == "auto" and self._batching != "off" and (reason := self._batch_differs()):
            safer: Batching = "equal" if self._batching == "padded" else "off"
            logger.warning(
                "model %r answers differently in a batch (%s, %s): using batch = %r from now on",
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
        """The answers to `rows`, float32 (items, samples), padded with zeros after `lengths`, in one run."""
        only = self._inputs.n_samples
        width = rows.shape[1]
        if only is not None and width > only:
            raise InferenceError(
                f"The model takes at most {only / self.sample_rate:.2f} s of audio,"
                f" not {width / self.sample_rate:.2f} s"
            )
        if width < (least := only or self._min_samples):
            rows = np.pad(rows, ((0, 0), (0, least - width)))
        # The padding up to min_samples counts as audio; that up to the only length of a model does not.
        lengths = np.maximum(lengths, self._min_samples if only is None else 1)
        return self._answers(self._run(np.ascontiguousarray(rows), lengths), len(rows))

    def _run(self, rows: Samples, lengths: Lengths) -> dict[str, Array]:
        inputs = self._inputs
        shape = (rows.shape[1],) if inputs.rank == 1 else (len(rows), *(1,) * (inputs.rank - 2), rows.shape[1])
        feed: dict[str, Array] = {inputs.waveform: rows.reshape(shape)}
        if side := inputs.rate:
            shape = () if side.rank == 0 else (1,) if inputs.is_shared(side) else (len(rows),)
            feed[side.name] = np.full(shape, self.sample_rate, side.dtype)
        if side := inputs.lengths:
            given = lengths[:1] if inputs.is_shared(side) else lengths
            feed[side.name] = given.astype(side.dtype).reshape(given.shape if side.rank else ())
        if side := inputs.mask:
            mask = (np.arange(rows.shape[1]) < lengths[:, None]).astype(side.dtype)
            feed[side.name] = mask[:1] if inputs.is_shared(side) else mask
        names = list({output.name: None for output in self._sent})
        return dict(zip(names, self._session.run(names, feed), strict=True))

    def _answers(self, arrays: Mapping[str, Array], n_items: int) -> list[Mapping[str, Any]]:
        items = {output.name: items_of(output, arrays[output.name], n_items) for output in self._sent}
        answers: list[Mapping[str, Any]] = []
        for i in range(n_items):
            answer: dict[str, Any] = {}
            if self._ranking is not None and self._scores is not None:
                answer.update(self._ranking.rank(items[self._scores.name][i]))
            for output in self._outputs:
                value = items[output.name][i]
                if value.size > self._max_values:
                    raise InferenceError(self._too_large(output.name, value.size))
                plain = shortest(value)
                is_number = output.n_values == plain.size == 1
                answer[output.name] = plain.reshape(-1).tolist()[0] if is_number else plain.tolist()
            answers.append(answer)
        return answers

    def _noise(self, seconds: float) -> Samples:
        n = max(self._min_samples, round(seconds * self.sample_rate))
        n = min(n, self._inputs.n_samples or n)
        noise: Samples = (0.1 * np.random.default_rng(0).standard_normal(n)).astype(np.float32)
        return noise

    def _batch_differs(self) -> str:
        """How the answers to a batch of two differ from those to single calls; empty: they do not."""
        items = [self._noise(1.0), self._noise(0.5 if self._batching == "padded" else 1.0)[::-1].copy()]
        try:
            together = self.infer_batch(Batch.gather(items))
            alone = [self.infer(item) for item in items]
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        for one, other in zip(together, alone, strict=True):
            for key in other:
                if key != "label" and not is_same(one[key], other[key]):
                    return f"output {key!r}"
        return ""
