"""Calls a model in the form that its signatures ask for: with the request, or without it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from voxgate.errors import ModelLoadError
from voxgate.models.base import Model, Samples
from voxgate.models.request import Request

__all__ = ["ModelAdapter", "declares_text", "takes_request"]

_REQUEST = "request"


class ModelAdapter:
    """The calls of one model whose arguments depend on its signatures, which are read once, here. Any thread."""

    infer: Callable[[Samples, Request], Any]
    """`Model.infer`, with or without its second argument."""
    open: Callable[[Request], Any]
    """`Model.open`, with or without its argument."""

    def __init__(self, model: Model, spec: str | None = None) -> None:
        """Raises ModelLoadError, with `spec` or the name of the model, for a method that cannot be called as the
        contract says.
        """
        name = model.name if spec is None else spec
        for method, form, n_arguments in (
            (model.infer_batch, "infer_batch(self, batch)", 1),
            (model.step, "step(self, audio, state)", 2),
            (model.finish, "finish(self, state)", 1),
        ):
            _check(name, model, method, form, n_arguments, n_arguments)
        infers_with_request = _check(
            name, model, model.infer, "infer(self, audio) or infer(self, audio, request)", 1, 2
        )
        opens_with_request = _check(name, model, model.open, "open(self) or open(self, request)", 0, 1)
        if model.Options is not None and not (infers_with_request or opens_with_request or model.batches):
            raise ModelLoadError(
                f"model {name!r}: its Options reach no method: expected infer(self, audio, request) or"
                " open(self, request), which read request.options"
            )
        self.infer = model.infer if infers_with_request else lambda audio, request: model.infer(audio)
        self.open = model.open if opens_with_request else lambda request: model.open()


def takes_request(function: Callable[..., Any]) -> bool:
    """Whether a plain function is ``f(audio, request)``: a second required parameter of another name is an option."""
    positional = _positional(function)
    return positional is not None and len(positional) > 1 and positional[1].name == _REQUEST


def declares_text(model: Model) -> bool | None:
    """What the model says about the text of its results, by `gives_text` or ``-> str`` of `infer`; None: nothing."""
    if model.gives_text is not None:
        return bool(model.gives_text)
    annotations = getattr(model.infer, "__annotations__", {})
    return True if annotations.get("return") in (str, "str") else None


def _check(name: str, model: Model, method: Callable[..., Any], form: str, usual: int, most: int) -> bool:
    """Whether `method` takes one more argument than `usual`. `most`: how many it may require."""
    problem = None
    positional = _positional(method)
    if positional is None:  # Written in C, without a signature.
        return False
    parameters = inspect.signature(method).parameters.values()
    empty = inspect.Parameter.empty
    required = [parameter.name for parameter in positional if parameter.default is empty]
    by_name = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is empty]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    if len(positional) < usual and not takes_any:
        problem = "takes no argument" if not positional else f"takes only {', '.join(p.name for p in positional)}"
    elif len(required) > most or by_name:
        problem = f"also requires {', '.join([*required[most:], *by_name])}"
    if problem is not None:
        cls, attribute = type(model).__qualname__, form.partition("(")[0]
        raise ModelLoadError(f"model {name!r}: expected {cls} to define {form}, but its {attribute} {problem}")
    return most > usual and len(positional) > usual and (len(required) > usual or positional[usual].name == _REQUEST)


def _positional(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """None for a callable without a signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in parameters if parameter.kind in kinds]
