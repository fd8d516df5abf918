"""What a model may return. The engines, their trial calls and `voxgate models check` all ask here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BadResult", "check_batch", "result_of"]


class BadResult(Exception):
    """The model returned something that is no result. The text says what was expected and the type of what came,
    never the value.
    """


def result_of(answer: object) -> dict[str, Any]:
    """The result that a model's answer is: a copy, so that a model which returns the same dict twice mixes nothing up.

    Raises BadResult for anything but a mapping with string keys. Whether its values can be sent shows when it is
    encoded (`messages.check_output`).
    """
    if not isinstance(answer, Mapping):
        raise BadResult(f"expected a mapping with string keys, not an object of type {_type_of(answer)}")
    result = dict(answer)
    for key in result:
        if not isinstance(key, str):
            raise BadResult(f"expected a mapping with string keys, but a key is of type {_type_of(key)}")
    return result


def check_batch(answers: object, n_items: int) -> None:
    """Raises BadResult when `infer_batch` did not return one answer for each item; see `result_of` for each of them."""
    if not isinstance(answers, Sequence) or isinstance(answers, (str, bytes)):
        raise BadResult(
            f"expected infer_batch to return a sequence of {n_items} mappings, not an object of type"
            f" {_type_of(answers)}"
        )
    if len(answers) != n_items:
        raise BadResult(f"expected infer_batch to return {n_items} mappings, one per item, not {len(answers)}")


def _type_of(value: object) -> str:
    return repr(type(value).__qualname__)
