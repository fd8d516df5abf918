"""Converts the options of a model to the types of its constructor's annotations."""

from __future__ import annotations

import enum
import functools
import inspect
import itertools
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

from voxgate.config.option_text import OptionText
from voxgate.errors import ModelLoadError, shown

__all__ = ["convert"]

_SWITCHES: Final = {"yes": True, "on": True, "no": False, "off": False}


class _UnknownType(Exception):
    """No configuration has values of the annotated type; the value is passed as it is."""


def convert(
    spec: str,
    function: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter],
    arguments: tuple[str, ...],
    options: Mapping[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`arguments` and `options`, converted to the types of the `parameters` of `function`.

    A parameter without an annotation, or with a type that no configuration can express (a callable, a class of the
    model), gets its value as it is; text of the environment or of a flag becomes the value that it looks like. Raises
    ModelLoadError, with the expected type and the value, for a value that the annotation does not allow.
    """
    namespace = _namespace(function)
    positional = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    more = next((p for p in parameters.values() if p.kind is p.VAR_POSITIONAL), None)
    rest = next((p for p in parameters.values() if p.kind is p.VAR_KEYWORD), None)

    def one(name: str, value: Any, parameter: inspect.Parameter | None) -> Any:
        annotation = inspect.Parameter.empty if parameter is None else _evaluated(parameter.annotation, namespace)
        try:
            return _converted(value, annotation)
        except ValueError as error:
            detail = f" ({error})" if "$" in str(error) else ""
            raise ModelLoadError(
                f"model {spec!r}: the option {name!r} must be {_expected(annotation)}, got {shown(value)}{detail}"
            ) from None

    filled = itertools.chain(positional, itertools.repeat(more))
    return (
        tuple(one(p.name if p else "", OptionText(value), p) for value, p in zip(arguments, filled, strict=False)),
        {name: one(name, value, parameters.get(name, rest)) for name, value in options.items()},
    )


def _namespace(function: Callable[..., Any]) -> dict[str, Any]:
    """The namespace of the annotations of `function`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        function = function.__init__ if "__init__" in dir(function) else function
    elif not inspect.isroutine(function):
        function = type(function).__call__
    found: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    return found


def _evaluated(annotation: Any, namespace: dict[str, Any]) -> Any:
    """The annotation, evaluated if it is text; empty when that fails."""
    if not isinstance(annotation, str):
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=namespace, include_extras=True)["it"]
    except Exception:  # an annotation may contain any code, and names that only a type checker has
        return inspect.Parameter.empty


def _converted(value: Any, annotation: Any) -> Any:
    """The value as the annotated type. Raises ValueError (such as msgspec.ValidationError) when no reading fits."""
    guess = value.guess if isinstance(value, OptionText) else value
    if annotation is inspect.Parameter.empty:
        return guess
    failure: ValueError | None = None
    unknown = False
    for candidate, strict in _readings(value):
        for kind in _kinds(annotation):
            try:
                return msgspec.convert(candidate, kind, strict=strict, dec_hook=_from_plain)
            except ValueError as error:
                failure = failure or error
            except (_UnknownType, TypeError):
                unknown = True
    if unknown or failure is None:
        return guess
    raise failure


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The annotation, or its parts when msgspec does not support the union."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        try:
            msgspec.json.Decoder(annotation)
        except TypeError:
            return typing.get_args(annotation)
    return (annotation,)


def _readings(value: Any) -> Iterator[tuple[Any, bool]]:
    """The possible readings of the value, the most likely first, and whether msgspec checks their type strictly."""
    if isinstance(value, OptionText):
        yield value.guess, True
        value = str(value)
    yield value, False
    if type(value) is int:
        yield str(value), True
    if not isinstance(value, str):
        return
    if value.strip().lower() in _SWITCHES:
        yield _SWITCHES[value.strip().lower()], True
    if isinstance(document := OptionText(value).guess, list | dict):
        yield document, False
    if not value:
        yield None, True


def _from_plain(kind: Any, value: Any) -> Any:
    if inspect.isclass(kind) and issubclass(kind, PurePath):
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        return kind(value)
    raise _UnknownType


# --- words ---

_WORDS: Final[dict[Any, str]] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    type(None): "null",
}


def _expected(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is typing.Annotated:
        return _expected(parts[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_expected(part) for part in parts if part is not type(None))
    if origin is typing.Literal:
        return f"one of {', '.join(shown(part) for part in parts)}"
    if inspect.isclass(annotation) and origin is None:
        if issubclass(annotation, enum.Enum):
            return f"one of {', '.join(shown(member.value) for member in annotation)}"
        if issubclass(annotation, PurePath):
            return "a path"
    return inspect.formatannotation(annotation).replace("typing.", "").replace("collections.abc.", "")
