"""From the words in a configuration to a model that is ready to be warmed up."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from voxgate.errors import ConfigError, ModelLoadError
from voxgate.models.base import Model
from voxgate.models.default import AUTO, choose
from voxgate.models.function import FunctionModel

__all__ = ["ENTRY_POINT_GROUP", "available_models", "failed_at", "find_model", "load_model"]

logger = logging.getLogger("voxgate.models")

ENTRY_POINT_GROUP = "voxgate.models"

_BUILT_IN = {
    "dummy": "voxgate.models.dummy:Dummy",
    "faster-whisper": "voxgate.models.faster_whisper:FasterWhisper",
    "features": "voxgate.models.features:Features",
    "moonshine": "voxgate.models.moonshine:Moonshine",
    "onnx": "voxgate.models.onnx:Onnx",
    "pitch": "voxgate.models.pitch:Pitch",
    "pocketsphinx": "voxgate.models.pocketsphinx:PocketSphinx",
}
"""Kept here as well as in the package's metadata, so that a source tree that is not installed knows them; they win
over entry points of other packages, so that installing a package never changes what a name of ours means."""

_LOWEST_HZ, _HIGHEST_HZ = 4_000, 192_000

_OURS = str(Path(__file__).parents[1]) + os.sep
_INSTALLED = tuple(
    path + os.sep
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path is not None
)

_Parameters = dict[str, inspect.Parameter]


def available_models() -> dict[str, str]:
    """The names :func:`load_model` knows, each with the ``module:attribute`` behind it; nothing is imported."""
    from importlib import metadata  # Slow to import, and not needed by who only writes a model.

    found = {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return dict(sorted({**found, **_BUILT_IN}.items()))


def load_model(spec: str, options: Mapping[str, Any] | None = None) -> Model:
    """Imports and constructs a model. Blocking, possibly for seconds: not for the event loop's thread once the server
    runs.

    `spec` is one of

    - a name: ``"features"``, or that of an entry point in the group ``voxgate.models``,
    - ``"auto"``: ``"moonshine"`` where its extra is installed, else ``"features"``,
    - ``"name:ARG"``: the same, with ARG as the first argument of its constructor, as in ``"onnx:speech.onnx"``,
    - ``"pkg.module:attribute"``: anything importable; the current directory is searched first. The attribute (dots
      reach into classes) is a :class:`voxgate.Model` subclass or instance, a function ``f(audio) -> dict``, or a
      factory: a callable or class that takes the options alone and returns a Model or such a function. What cannot run
      without one positional argument that no option fills is taken for a function of the audio.

    `options` are keyword arguments of the constructor or factory, or of every call of a function.

    Raises :class:`voxgate.errors.ModelLoadError`, saying what was expected, what came and what to do.
    """
    options = dict(options or {})
    place, arguments = _place(spec)
    model = _construct(spec, _fetch(spec, place), arguments, options)
    _check(spec, model)
    return model


def find_model(spec: str) -> Any:
    """What `spec` names, imported and not called: a class, an instance, a function or a factory. For what can be read
    from it without making the model. Raises ModelLoadError as :func:`load_model` does.
    """
    return _fetch(spec, _place(spec)[0])


def _place(spec: str) -> tuple[str, tuple[str, ...]]:
    """The ``module:attribute`` behind `spec`, and the arguments that stand after its colon."""
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
    _search_current_directory()
    return spec, ()


def _unknown(spec: str, known: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(spec, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"unknown model {spec!r}: expected one of {', '.join(known)}, or 'pkg.module:attribute' for one of your own"
        f" (for example 'mypkg.asr:Transcriber'){hint}"
    )


def _search_current_directory() -> None:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def failed_at(error: BaseException) -> str:
    """Where a model failed, to be appended to the text of its exception: `` (deep.py, line 4, in load)``.

    The innermost frame of the model's own code, else of a library it uses; empty when Voxgate's own code alone was
    involved, or the exception says it already (a SyntaxError).
    """
    if isinstance(error, SyntaxError):
        return ""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen "))
    ]
    if not frames:
        return ""
    own = [frame for frame in frames if not frame.filename.startswith(_INSTALLED)]
    frame = (own or frames)[-1]
    function = "" if frame.name == "<module>" else f", in {frame.name}"
    return f" ({os.path.basename(frame.filename)}, line {frame.lineno}{function})"


# --- importing ---


def _fetch(spec: str, place: str) -> Any:
    module_name, _, path = place.partition(":")
    if not path or not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise ModelLoadError(
            f"model {spec!r}: expected 'pkg.module:attribute', names joined by dots on both sides of one colon"
            f"{_file_hint(module_name)}"
        )
    found: Any = _import(spec, module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [name for name in dir(found) if not name.startswith("_")]
            close = difflib.get_close_matches(part, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            where = getattr(found, "__name__", type(found).__name__)
            raise ModelLoadError(f"model {spec!r}: {where!r} has no attribute {part!r}{hint}") from None
    return found


def _file_hint(module_name: str) -> str:
    if not module_name.endswith(".py"):
        return ""
    module = os.path.normpath(module_name[: -len(".py")]).replace(os.sep, ".").lstrip(".")
    return f"; for a file write its module, {module!r}"


def _import(spec: str, module_name: str) -> Any:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ModelLoadError(
                f"model {spec!r}: no module named {error.name!r}, neither in the current directory"
                f" ({os.getcwd()}) nor among the installed packages{_file_hint(module_name)}"
            ) from None
        logger.debug("importing %r failed", module_name, exc_info=error)
        raise ModelLoadError(
            f"model {spec!r}: importing {module_name!r} failed: it needs the module {error.name!r},"
            f" which is not installed{failed_at(error)}"
        ) from error
    except (Exception, SystemExit) as error:
        logger.debug("importing %r failed", module_name, exc_info=error)
        raise ModelLoadError(
            f"model {spec!r}: importing {module_name!r} failed: {type(error).__name__}: {error}{failed_at(error)}"
        ) from error


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
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise ModelLoadError(
            f"model {spec!r}: expected a plain function, but it is an async one; models run on threads of their own,"
            " where waiting is allowed"
        )
    if not inspect.isclass(found) and _takes_audio(found, arguments, options):
        parameters = _parameters(found)
        _check_options(spec, parameters and dict(list(parameters.items())[1:]), (), options)
        return FunctionModel(found, options)
    return _call_factory(spec, found, arguments, options)


def _takes_audio(function: Callable[..., Any], arguments: tuple[str, ...], options: Mapping[str, Any]) -> bool:
    """Whether `function` is f(audio) rather than a factory: it needs one positional argument, and no option fills
    that.
    """
    if arguments:
        return False
    parameters = _parameters(function)
    if parameters is None:  # Written in C and without a signature: no factory of ours.
        return True
    positional = _positional(parameters)
    if positional:
        return positional[0].default is inspect.Parameter.empty and positional[0].name not in options
    return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())


def _call_factory(spec: str, factory: Callable[..., Any], arguments: tuple[str, ...], options: dict[str, Any]) -> Model:
    _check_options(spec, _parameters(factory), arguments, options)
    try:
        made = factory(*arguments, **options)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        logger.debug("making model %r failed", spec, exc_info=error)
        raise ModelLoadError(f"model {spec!r}: {text}{failed_at(error)}") from error
    if isinstance(made, Model):
        return made
    if inspect.iscoroutine(made):
        made.close()
    elif callable(made):
        return FunctionModel(made)
    hint = ""
    if inspect.isclass(factory):
        hint = "; derive the class from voxgate.Model, or give it __call__(self, audio)"
    raise ModelLoadError(
        f"model {spec!r}: expected it to make a voxgate.Model or a function f(audio), but it made an object of type"
        f" {type(made).__name__!r}{hint}"
    )


def _parameters(function: Callable[..., Any]) -> _Parameters | None:
    """None for what has no signature, as some callables written in C."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def _positional(parameters: _Parameters) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in parameters.values() if parameter.kind in kinds]


def _check_options(
    spec: str, parameters: _Parameters | None, arguments: tuple[str, ...], options: Mapping[str, Any]
) -> None:
    """Compares what is given with what the signature takes, for better words than those of a TypeError."""
    if parameters is None:
        return
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
        raise ModelLoadError(f"model {spec!r}: the option {', '.join(map(repr, missing))} is required and missing")


# --- what came out ---


def _check(spec: str, model: Model) -> None:
    cls = type(model)
    if cls.infer is Model.infer and not model.stateful:
        raise ModelLoadError(f"model {spec!r}: expected {cls.__qualname__} to define infer(self, audio)")
    for method in (model.infer, model.infer_batch, model.step):
        if inspect.iscoroutinefunction(method):
            raise ModelLoadError(
                f"model {spec!r}: expected {cls.__qualname__}.{method.__name__} to be a plain method, but it is"
                " an async one; models run on threads of their own, where waiting is allowed"
            )
    rate, threads = model.sample_rate, model.threads
    if isinstance(rate, bool) or not isinstance(rate, int) or not _LOWEST_HZ <= rate <= _HIGHEST_HZ:
        raise ModelLoadError(
            f"model {spec!r}: sample_rate must be an integer of {_LOWEST_HZ}..{_HIGHEST_HZ} Hz, not {rate!r}"
        )
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ModelLoadError(f"model {spec!r}: threads must be None or an integer of at least 1, not {threads!r}")
