"""Checks of a model's results, for the engines, their trial calls and `voxgate models check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BadResult", "check_batch", "result_of"]


class BadResult(Exception):
    """The model returned an invalid result. The text names the expected and the actual type, never the value."""


def result_of(answer: object) -> dict[str, Any]:
    """The model's answer as a result: a copy, because the model may return the same dict again.

    Raises BadResult for anything but a mapping with string keys. The values are checked when they are encoded.
    """
    if not isinstance(answer, Mapping):
        raise BadResult(f"expected a mapping with string keys, not an object of type {_type_of(answer)}")
    result = dict(answer)
    for key in result:
        if not isinstance(key, str):
            raise BadResult(f"expected a mapping with string keys, but a key is of type {_type_of(key)}")
    return result


def check_batch(answers: object, n_items: int) -> None:
    """Raises BadResult when `infer_batch` did not return one answer for each item; see `result_of` for the answers."""
    if not isinstance(answers, Sequence) or isinstance(answers, (str, bytes)):
        raise BadResult(
            f"expected infer_batch to return a sequence of {n_items} mappings, not an object of type"
            f" {_type_of(answers)}"
        )
    if len(answers) != n_items:
        raise BadResult(f"expected infer_batch to return {n_items} mappings, one per item, not {len(answers)}")


def _type_of(value: object) -> str:
    return repr(type(value).__qualname__)
