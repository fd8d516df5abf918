"""Finds, imports and constructs the model that a configuration names."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from voxgate.errors import ConfigError, ModelLoadError, text_of
from voxgate.models.adapter import ModelAdapter, takes_request
from voxgate.models.base import Model
from voxgate.models.default import AUTO, choose
from voxgate.models.function import FunctionModel
from voxgate.models.kinds import is_async, yields
from voxgate.models.options import convert
from voxgate.models.session_options import SessionOptions
from voxgate.protocol.formats import MAX_RATE, MIN_RATE
from voxgate.runtime.import_name import ImportNameError, explained, failed_at, import_name

__all__ = ["ENTRY_POINT_GROUP", "available_models", "explained", "failed_at", "find_model", "load_model", "make_model"]

logger = logging.getLogger("voxgate.models")

ENTRY_POINT_GROUP = "voxgate.models"

_BUILT_IN = {
    "dummy": "voxgate.models.dummy:Dummy",
    "faster-whisper": "voxgate.models.faster_whisper:FasterWhisper",
    "features": "voxgate.models.features:Features",
    "moonshine": "voxgate.models.moonshine:Moonshine",
    "onnx": "voxgate.models.onnx:Onnx",
    "openai": "voxgate.models.openai:OpenAI",
    "pitch": "voxgate.models.pitch:Pitch",
    "pocketsphinx": "voxgate.models.pocketsphinx:PocketSphinx",
    "wakeword": "voxgate.models.wakeword:WakeWord",
}
"""Also in the metadata of the package; here for a source tree that is not installed. They take precedence over entry
points of other packages, so that installing a package never changes the meaning of these names."""

_Parameters = dict[str, inspect.Parameter]


def available_models() -> dict[str, str]:
    """The names of all models, with their ``module:attribute``; imports nothing."""
    from importlib import metadata  # Slow to import, and not needed to write a model.

    found = {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return dict(sorted({**found, **_BUILT_IN}.items()))


def load_model(spec: str, options: Mapping[str, Any] | None = None) -> Model:
    """Imports and constructs a model. It may block for seconds; do not call it on a running event loop.

    `spec` is one of

    - a name: ``"features"``, or that of an entry point in the group ``voxgate.models``,
    - ``"auto"``: ``"moonshine"`` where its extra is installed, else ``"features"``,
    - ``"name:ARG"``: the same, with ARG as the first argument of its constructor, as in ``"onnx:speech.onnx"``,
    - ``"pkg.module:attribute"``: anything importable; the current directory is searched first. The attribute (dots
      reach into classes) is a :class:`voxgate.Model` subclass or instance, a function ``f(audio)`` or
      ``f(audio, request)``, or a factory: a callable or class that takes only the options and returns a Model or such
      a function. A callable with a required positional argument that no option fills is a function of the audio.

    `options` are keyword arguments of the constructor or factory, or of every call of a function; each is converted to
    the type of its annotation (see `voxgate.models.options`).

    Raises :class:`voxgate.errors.ModelLoadError` with the expected and the actual value, and a remedy.
    """
    options = dict(options or {})
    place, arguments = _place(spec)
    model = _construct(spec, _import(spec, place), arguments, options)
    _check(spec, model)
    return model


def make_model(found: Any, options: Mapping[str, Any] | None = None) -> Model:
    """The model of an object that was imported already: an instance, a class, a function or a factory, as the attribute
    in :func:`load_model`, with the same `options` and errors.
    """
    spec = getattr(found, "__qualname__", type(found).__qualname__)
    model = _construct(spec, found, (), dict(options or {}))
    _check(spec, model)
    return model


def find_model(spec: str) -> Any:
    """The object that `spec` names, imported but not called: a class, an instance, a function or a factory. Raises
    ModelLoadError like :func:`load_model`.
    """
    return _import(spec, _place(spec)[0])


def _place(spec: str) -> tuple[str, tuple[str, ...]]:
    """The ``module:attribute`` of `spec`, and the arguments after its colon."""
    if spec == AUTO:
        spec = choose().name
    name, colon, argument = spec.partition(":")
    known = available_models()
    if name in known:
        if colon and not argument:
            raise ModelLoadError(f"model {spec!r}: expected something after the colon, or no colon")
        return known[name], (argument,) if colon else ()
    if not colon:
        raise ModelLoadError(_unknown(spec, known))
    return spec, ()


def _unknown(spec: str, known: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(spec, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"unknown model {spec!r}: expected one of {', '.join(known)}, or 'pkg.module:attribute' for one of your own"
        f" (for example 'mypkg.asr:Transcriber'){hint}"
    )


def _import(spec: str, place: str) -> Any:
    try:
        return import_name(place, search_here=place == spec)
    except ImportNameError as error:
        raise ModelLoadError(f"model {spec!r}: {error}") from error.__cause__


# --- constructing ---


def _construct(spec: str, found: Any, arguments: tuple[str, ...], options: dict[str, Any]) -> Model:
    if isinstance(found, Model):
        if arguments or options:
            given = ", ".join([*arguments, *options])
            raise ModelLoadError(
                f"model {spec!r}: expected no options, for it is an instance that has been made already, but got"
                f" {given}; name its class, or a function that returns it, to pass options"
            )
        return found
    if not callable(found):
        raise ModelLoadError(
            f"model {spec!r}: expected a voxgate.Model, a function f(audio) or a factory, but it is of type"
            f" {type(found).__name__!r}"
        )
    if not inspect.isclass(found) and _takes_audio(found, arguments, options):
        parameters = _parameters(found)
        if parameters is not None:
            parameters = dict(list(parameters.items())[2 if takes_request(found) else 1 :])
        return FunctionModel(found, _options(spec, found, parameters, (), options)[1])
    return _call_factory(spec, found, arguments, options)


def _takes_audio(function: Callable[..., Any], arguments: tuple[str, ...], options: Mapping[str, Any]) -> bool:
    """Whether `function` is f(audio) and not a factory: it requires a positional argument that no option fills."""
    if arguments:
        return False
    parameters = _parameters(function)
    if parameters is None:  # Written in C, without a signature: not a factory.
        return True
    positional = _positional(parameters)
    if positional:
        return positional[0].default is inspect.Parameter.empty and positional[0].name not in options
    return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())


def _call_factory(spec: str, factory: Callable[..., Any], arguments: tuple[str, ...], options: dict[str, Any]) -> Model:
    arguments, options = _options(spec, factory, _parameters(factory), arguments, options)
    try:
        made = factory(*arguments, **options)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        text = text_of(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {text_of(error)}"
        logger.debug("making model %r failed", spec, exc_info=error)
        raise ModelLoadError(f"model {spec!r}: {text}{failed_at(error)}") from error
    if isinstance(made, Model):
        return made
    if inspect.iscoroutine(made):
        made.close()
    elif callable(made):
        return FunctionModel(made)
    if inspect.isclass(factory):
        hint = "derive the class from voxgate.Model, or give it __call__(self, audio)"
    else:
        hint = f"a function that is a model takes the audio first: def {getattr(factory, '__name__', 'f')}(audio)"
    raise ModelLoadError(
        f"model {spec!r}: expected it to make a voxgate.Model or a function f(audio), but it made an object of type"
        f" {type(made).__name__!r}; {hint}"
    )


def _parameters(function: Callable[..., Any]) -> _Parameters | None:
    """None for a callable without a signature, such as some written in C."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def _positional(parameters: _Parameters) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in parameters.values() if parameter.kind in kinds]


def _options(
    spec: str,
    function: Callable[..., Any],
    parameters: _Parameters | None,
    arguments: tuple[str, ...],
    options: Mapping[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`arguments` and `options`, checked against the signature and converted to its types."""
    if parameters is None:
        parameters = {"options": inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)}
    else:
        _check_options(spec, parameters, arguments, options)
    return convert(spec, function, parameters, arguments, options)


def _check_options(spec: str, parameters: _Parameters, arguments: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """Checks `arguments` and `options` against the signature, for a better text than that of a TypeError."""
    positional = [parameter.name for parameter in _positional(parameters)]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
    if len(arguments) > len(positional) and not takes_any:
        raise ModelLoadError(f"model {spec!r}: expected nothing after the colon, but got {arguments[0]!r}")
    filled = positional[: len(arguments)]
    twice = [name for name in options if name in filled]
    if twice:
        raise ModelLoadError(f"model {spec!r}: {twice[0]!r} is given after the colon already, and again as an option")
    nameable = [
        parameter
        for parameter in parameters.values()
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        and parameter.name not in filled
    ]
    allowed = [parameter.name for parameter in nameable]
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [name for name in options if name not in allowed]
    if unknown and not anything:
        close = difflib.get_close_matches(unknown[0], allowed, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ModelLoadError(
            f"model {spec!r}: unknown option {', '.join(map(repr, unknown))}: expected"
            f" {'one of ' + ', '.join(allowed) if allowed else 'no options'}{hint}"
        )
    missing = [p.name for p in nameable if p.default is inspect.Parameter.empty and p.name not in options]
    if missing:
        hint = "; only a parameter before the * can take the audio" if missing == ["audio"] else ""
        names = ", ".join(map(repr, missing))
        raise ModelLoadError(f"model {spec!r}: the option {names} is required and missing{hint}")


# --- checking ---


def _check(spec: str, model: Model) -> None:
    cls = type(model)
    if cls.infer is Model.infer and not model.stateful:
        raise ModelLoadError(f"model {spec!r}: expected {cls.__qualname__} to define infer(self, audio)")
    _check_kinds(spec, model)
    ModelAdapter(model, spec)
    SessionOptions(model, spec)
    rate, threads = model.sample_rate, model.threads
    if isinstance(rate, bool) or not isinstance(rate, int) or not MIN_RATE <= rate <= MAX_RATE:
        raise ModelLoadError(
            f"model {spec!r}: sample_rate must be an integer of {MIN_RATE}..{MAX_RATE} Hz, not {rate!r}"
        )
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ModelLoadError(f"model {spec!r}: threads must be None or an integer of at least 1, not {threads!r}")


def _check_kinds(spec: str, model: Model) -> None:
    """Either all calls are coroutines, or none is; only `infer` may yield."""
    cls = type(model)
    for method in (model.infer_batch, model.open, model.step, model.finish):
        if yields(method):
            raise ModelLoadError(
                f"model {spec!r}: expected {cls.__qualname__}.{method.__name__} to return its result, but it is a"
                " generator; only infer may yield interim results"
            )
    methods = {
        "infer": model.infer if model.stateless else None,
        "infer_batch": model.infer_batch if model.batches else None,
        "step": model.step if model.stateful else None,
    }
    waiting = [name for name, method in methods.items() if method is not None and is_async(method)]
    plain = [name for name, method in methods.items() if method is not None and name not in waiting]
    if waiting and plain:
        raise ModelLoadError(
            f"model {spec!r}: expected all calls of {cls.__qualname__} to be async def, or none, but"
            f" {' and '.join(waiting)} is and {' and '.join(plain)} is not: it would block the event loop"
        )
    if waiting and model.holds_gil:
        raise ModelLoadError(
            f"model {spec!r}: expected {cls.__qualname__} to hold the GIL (holds_gil) or to be async def, but not both:"
            " a worker process makes one call at a time, and elsewhere it would block the server"
        )
    for name in ("open", "finish", "warm_up", "close"):
        if plain and is_async(getattr(model, name)):
            raise ModelLoadError(
                f"model {spec!r}: expected {cls.__qualname__}.{name} to be a plain method, like"
                f" {' and '.join(plain)}, but it is async def"
            )
