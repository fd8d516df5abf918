"""``voxgate models`` lists the models; ``voxgate models check NAME`` measures one and suggests settings."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import json
import logging
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxgate.cli import VERBS
from voxgate.cli.arguments import number
from voxgate.cli.display import Style, format_output
from voxgate.cli.progress import Waiting
from voxgate.cli.set_option import add_set_option, settings_of
from voxgate.config import load_config
from voxgate.errors import ConfigError
from voxgate.models import Model, available_models, load_model

if TYPE_CHECKING:
    from voxgate.cli.behaviour import Behaviour
    from voxgate.cli.suggest import Suggestion

__all__ = ["Listed", "listed", "register", "run", "run_check"]

_WORDS = 96
"""Columns of an answer that are shown."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb to the command line."""
    parser = verbs.add_parser(
        "models",
        help=VERBS["models"],
        description="List the models that have names, and their requirements.",
        epilog="exit code: 0 the list was printed; 2 wrong usage",
    )
    parser.add_argument(
        "--format", choices=("pretty", "jsonl"), default="pretty", help="format of the output (%(default)s)"
    )
    parser.set_defaults(run=run)
    below = parser.add_subparsers(metavar="check", title="more")
    check = below.add_parser(
        "check",
        help="measure a model, and suggest settings",
        description="Measure a model on the bundled recording: speed, effect on other Python threads, gain of batches"
        " and threads; and suggest settings.",
        epilog="exit code: 0 the model can be served; 1 a call failed; 2 wrong usage, or an unloadable model",
    )
    check.add_argument("model", metavar="NAME", nargs="?", help="as for voxgate serve (that of --config)")
    check.add_argument("--config", metavar="FILE", help="file with the section model")
    add_set_option(check, "argument of the model, such as model.threads=2; may be repeated", "model.")
    check.add_argument(
        "--seconds",
        type=number(0, 3600),
        default=1.0,
        metavar="S",
        help="shortest time of a measurement, in seconds (%(default)g)",
    )
    check.add_argument(
        "--format", choices=("pretty", "jsonl"), default="pretty", help="format of the output (%(default)s)"
    )
    check.set_defaults(run=run_check)


# --- the list ---


@dataclass(frozen=True)
class Listed:
    """A model with a name."""

    name: str
    """The name to type: ``features``, ``onnx:PATH``."""
    about: str
    needs: str
    """The command that installs missing packages; empty if none are missing."""
    routes: list[str]
    calls: str
    """The number of concurrent calls, and where they run."""
    available: bool


def run(args: argparse.Namespace) -> int:
    """Prints the list; exit code 0."""
    found = [listed(name, place) for name, place in available_models().items()]
    if args.format == "jsonl":
        for one in found:
            print(json.dumps(dataclasses.asdict(one), ensure_ascii=False))
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
    for line in _table(found, max(width, 80)):
        print(line)
    return 0


def listed(name: str, place: str) -> Listed:
    """Imports the model behind a name and describes it; a failed import is described by its reason."""
    module_name, _, path = place.partition(":")
    try:
        module = importlib.import_module(module_name)
        found: Any = module
        for part in path.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        return Listed(name, f"cannot be imported: {type(error).__name__}: {error}", "", [], "", False)
    kind = found if inspect.isclass(found) else type(found)
    about = _first_paragraph(module.__doc__ or getattr(found, "__doc__", None))
    if not issubclass(kind, Model):  # a function or a factory: only its result would show more
        return Listed(_with_argument(name, found), about, "", [], "", True)
    needs = getattr(kind, "needs", None)
    missing = "" if needs is None or needs.installed else needs.install
    routes = ["simple", "segmented"] if kind.infer is not Model.infer else []
    routes += ["stateful"] if kind.step is not Model.step else []
    return Listed(_with_argument(name, found), about, missing, routes, _calls(kind), not missing)


def _with_argument(name: str, found: Any) -> str:
    """The name with the required argument of its constructor, if there is one."""
    if not callable(found):
        return name
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return name
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p.name for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    return f"{name}:{required[0].upper()}" if required and inspect.isclass(found) else name


def _calls(kind: type[Model]) -> str:
    threads = kind.threads
    if kind.holds_gil:
        return "one for each worker process (holds the GIL)"
    calls = "one for each CPU" if threads is None else "one" if threads == 1 else str(threads)
    return calls + (", in batches" if kind.infer_batch is not Model.infer_batch else "")


def _first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split()).replace("``", "")


def _table(found: Iterable[Listed], width: int) -> list[str]:
    rows = [("name", "needs", "routes", "calls at once", "what it is")]
    for one in found:
        needs = one.needs or ("ready" if one.available else "broken")
        rows.append((one.name, needs, ", ".join(one.routes) or "?", one.calls or "?", one.about))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    beside = sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        head = "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=False)) + "  "
        if width - beside >= 30:
            about = textwrap.wrap(row[4], width - beside) or [""]
            lines += [(head if i == 0 else " " * beside) + text for i, text in enumerate(about)]
        else:
            lines.append(head)
            lines += textwrap.wrap(row[4], width, initial_indent="    ", subsequent_indent="    ")
    return [line.rstrip() for line in lines]


# --- the check ---


def run_check(args: argparse.Namespace) -> int:
    """Exit code 0: the model can be served. 1: a call failed. Raises ConfigError when the model cannot be loaded."""
    from voxgate.cli.measure import CheckFailed, measure, opened
    from voxgate.cli.suggest import suggest

    overrides = {"model": args.model, **settings_of(args.set, "model.")}
    if args.model is None and args.config is None:
        raise ConfigError("expected the NAME of a model, or --config FILE; voxgate models lists the names")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    config = load_config(args.config, overrides=overrides)
    if config.server.log_level == "debug":
        logging.getLogger("voxgate").setLevel(
            logging.DEBUG
        )  # not the root logger: Numba would log everything that it compiles
    style = Style.of(sys.stdout)
    begin = time.perf_counter()
    with Waiting(sys.stderr, f"loading {config.model.name}"):
        model = load_model(config.model.name, config.model.options)
    load_s = time.perf_counter() - begin
    if model.needs_process:
        raise ConfigError(f"model {model.name!r} must not run in this process, because {model.needs_process}")
    try:
        with Waiting(sys.stderr, f"measuring {model.name}"), opened(model) as plain:
            behaviour = measure(plain, args.seconds)
        settings = suggest(model, behaviour)
    except CheckFailed as error:
        if args.format == "jsonl":
            print(json.dumps({"model": model.name, "ok": False, "error": str(error)}, ensure_ascii=False))
        else:
            print(f"{style.bold(model.name)}: loaded in {load_s:.2f} s")
            print(style.red(f"{style.tick(False)} {error}"))
        return 1
    if args.format == "jsonl":
        print(_json(model, load_s, behaviour, settings))
    else:
        for line in _report(model, load_s, behaviour, settings, style):
            print(line)
    return 0


def _json(model: Model, load_s: float, behaviour: Behaviour, settings: Sequence[Suggestion]) -> str:
    import msgspec

    document = {
        "model": model.name,
        "ok": True,
        "sample_rate": model.sample_rate,
        "load_s": load_s,
        **dataclasses.asdict(behaviour),
        "settings": {one.key: one.value for one in settings},
    }
    document["gil"]["verdict"] = behaviour.gil.verdict
    return msgspec.json.encode(document, enc_hook=lambda value: value.tolist()).decode()


def _report(
    model: Model, load_s: float, behaviour: Behaviour, settings: Sequence[Suggestion], style: Style
) -> Iterable[str]:
    routes = [*(["simple", "segmented"] if model.stateless else []), *(["stateful"] if model.stateful else [])]
    yield f"{style.bold(model.name)}: {model.sample_rate} Hz, for the {_listed(routes)} {_plural('route', routes)}"
    yield (
        f"  loaded in {_time(load_s)}, warm after {_time(behaviour.warm_up_s)} more,"
        f" first answer after {_time(behaviour.first_call_s)}"
    )
    yield ""
    yield "its results for the bundled recording"
    for said in behaviour.said:
        yield style.grey(f"  {style.quote(said.text)}")
        answer = "nothing" if said.answer is None else format_output(_plain(said.answer), style)
        yield "    " + (answer if len(answer) <= _WORDS else answer[: _WORDS - 4].rstrip() + " ...")
    yield ""
    yield "how it behaves"
    for name, good, text in _findings(model, behaviour):
        line = f"  {style.tick(True) if good else '!'} {name:<12} {text}"
        yield line if good else style.yellow(line)
    yield ""
    yield "settings that suit it here"
    width = max(len(f"{one.key} = {json.dumps(one.value)}") for one in settings)
    for one in settings:
        yield f"  {f'{one.key} = {json.dumps(one.value)}':<{width}}  {style.grey('# ' + one.reason)}"


def _findings(model: Model, behaviour: Behaviour) -> Iterable[tuple[str, bool, str]]:
    speed, gil = behaviour.speed, behaviour.gil
    factor = speed.real_time_factor
    live = (
        f"{1 / factor:.0f} times real time" if factor < 1 else "slower than real time: it cannot keep up with one voice"
    )
    yield (
        "speed",
        factor < 1,
        f"real-time factor {factor:.3g}, {live}"
        f" (median of {speed.calls} calls; {_time(speed.call_s)} for {speed.audio_s:.1f} s of audio)",
    )
    does = {"holds": "is held", "shares": "is held part of the time", "releases": "is released"}.get(gil.verdict)
    if does is None:
        yield "GIL", False, "cannot tell: other work on this machine disturbed the measurement; try again"
    else:
        yield (
            "GIL",
            gil.verdict != "holds",
            f"{does}: it was free for {gil.share:.0%} of the model's work, and another Python thread waited for it for"
            f" up to {_time(gil.longest_pause_s)}",
        )
    if gil.verdict == "holds" and not model.holds_gil:
        yield "", False, "the model does not declare it: set holds_gil = True in its class"
    if behaviour.batches:
        gains = ", ".join(f"{one.size} together {one.gain:.2f}x" for one in behaviour.batches)
        yield "batches", max(one.gain for one in behaviour.batches) >= 1.1, f"{gains} as fast as one by one"
    else:
        yield "batches", True, "none: it accepts one piece of audio at a time"
    if behaviour.two_at_once is None:
        yield "two at once", True, "not measured: it allows one call at a time"
    else:
        best = f"code that only computes reaches {behaviour.two_at_best:.2f}x on this machine at the moment"
        yield "two at once", True, f"{behaviour.two_at_once:.2f}x as fast as one after the other ({best})"


def _plain(answer: Any) -> Any:
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in answer.items()}


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.2f} s"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _plural(noun: str, names: Sequence[str]) -> str:
    return noun if len(names) == 1 else noun + "s"
