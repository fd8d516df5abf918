"""Scores as ranked labels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from voxgate.errors import InferenceError

__all__ = ["ACTIVATIONS", "LabelRanking", "read_labels"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _sigmoid(scores: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scores)))


#: Over the last axis.
ACTIVATIONS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "none": lambda scores: scores,
    "softmax": _softmax,
    "sigmoid": _sigmoid,
}


class LabelRanking:
    """The best labels of an array of scores. Any thread."""

    def __init__(self, labels: Sequence[str], top: int, activation: str) -> None:
        """`labels`: of the last axis; `top`: how many are returned; `activation`: a key of ACTIVATIONS."""
        self.labels = labels
        self._top = top
        self._activate = ACTIVATIONS[activation]

    def rank(self, scores: Array) -> dict[str, Any]:
        """``label`` and ``score`` of the best, and ``labels``, a list of the best as ``{"label", "score"}``.

        `scores`: shape (..., labels); averaged over all axes but the last. Raises ValueError for another last axis, and
        InferenceError for an empty array.
        """
        labels = self.labels
        if scores.ndim == 0 or scores.shape[-1] != len(labels):
            raise ValueError(f"the scores have shape {scores.shape}, but there are {len(labels)} labels")
        if scores.size == 0:
            raise InferenceError("The audio is too short for this model")
        values = self._activate(scores.astype(np.float64)).reshape(-1, len(labels)).mean(axis=0)
        best = np.argsort(-values, kind="stable")[: self._top]
        ranking = [{"label": labels[i], "score": round(float(values[i]), 6)} for i in best]
        return {**ranking[0], "labels": ranking}


def read_labels(labels: str | Sequence[str]) -> list[str]:
    """Labels of a list, or of a file with one label a line or a JSON list. Raises ValueError for anything else."""
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
