"""``voxgate serve MODEL --reload``: a server that starts again when a file of its model changes."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from voxgate.errors import ConfigError
from voxgate.models import available_models

__all__ = ["serve_and_reload", "watched_paths"]

_STOP_TIMEOUT_S: Final = 5


def serve_and_reload(model: str, config: str | None, arguments: Sequence[str]) -> int:
    """Runs ``voxgate ARGUMENTS`` without --reload, again after each change, until Ctrl-C or SIGTERM; exit code 0.

    A server that fails to start (a syntax error in the model) is started again after the next change. Raises
    ConfigError when watchfiles is not installed, or when the model has no files to watch.
    """
    try:
        from watchfiles import PythonFilter, run_process
    except ImportError:
        raise ConfigError("--reload needs watchfiles: pip install 'voxgate[reload]'") from None
    paths = watched_paths(model, config)
    print(f"voxgate: watching {', '.join(map(str, paths))}", file=sys.stderr, flush=True)
    # A session of a server that is under development need not end before the server does.
    command = [sys.executable, "-m", "voxgate", *(a for a in arguments if a != "--reload"), "--set", "server.drain_s=0"]
    run_process(
        *paths,
        target=shlex.join(command),
        target_type="command",
        watch_filter=PythonFilter(extra_extensions=(".toml", ".json")),
        callback=lambda changes: print(f"voxgate: {_changed(changes)} changed: starting again", file=sys.stderr),
        sigint_timeout=_STOP_TIMEOUT_S,
    )
    return 0


def watched_paths(model: str, config: str | None) -> list[Path]:
    """The package of the model, or the directory of its module, and the file of the configuration.

    Imports nothing of the model. Raises ConfigError for a model without files of its own.
    """
    name = model.partition(":")[0].partition(".")[0]
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    is_own = name.isidentifier() and ":" in model and name not in available_models()
    spec = importlib.util.find_spec(name) if is_own else None
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ConfigError(f"--reload: expected a model of your own, as pkg.module:attr, got {model!r}")
    places = list(spec.submodule_search_locations or ()) or [str(Path(str(spec.origin)).parent)]
    return [Path(place) for place in places] + ([Path(config)] if config is not None else [])


def _changed(changes: Iterable[tuple[object, str]]) -> str:
    return ", ".join(sorted({os.path.basename(path) for _, path in changes}))
