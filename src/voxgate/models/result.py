"""What a model may return, for the engines, their trial calls and `voxgate models check`."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence

from voxgate.protocol.output import Output, UnsendableOutput

__all__ = ["BadResult", "check_batch", "output_of"]


class BadResult(Exception):
    """The model returned an invalid result. The text names the expected and the actual type, never the value."""


def output_of(answer: object) -> Output | None:
    """The model's answer, encoded, so that nothing of it belongs to the model any more; None: it has nothing to say.

    Raises BadResult for anything but None, a str, a mapping with string keys, a msgspec Struct and a dataclass, and for
    one that cannot be sent to a client.
    """
    if answer is None:
        return None
    try:
        return Output.of({"text": answer} if isinstance(answer, str) else answer)
    except UnsendableOutput as error:
        problem = str(error)
    if isinstance(answer, Coroutine):
        answer.close()  # Otherwise Python warns that nobody awaited it.
        problem = "expected a result, but got a coroutine: define the method with async def, and await in it"
    raise BadResult(problem)


def check_batch(answers: object, n_items: int) -> None:
    """Raises BadResult when `infer_batch` did not return one answer for each item; see `output_of` for the answers."""
    if not isinstance(answers, Sequence) or isinstance(answers, (str, bytes)):
        raise BadResult(
            f"expected infer_batch to return a sequence of {n_items} results, not an object of type"
            f" {type(answers).__qualname__!r}"
        )
    if len(answers) != n_items:
        raise BadResult(f"expected infer_batch to return {n_items} results, one per item, not {len(answers)}")
