"""The onnxruntime session of a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from voxgate.errors import ModelLoadError

__all__ = ["check_path", "open_session"]


def check_path(spec: str, path: str) -> str:
    """`path` with ``~`` expanded. Raises ModelLoadError when there is no such file."""
    expanded = os.path.expanduser(path)
    if not os.path.isfile(expanded):
        raise ModelLoadError(
            f"model {spec!r}: expected the path of a file, but there is none at {os.path.abspath(expanded)}"
        )
    return expanded


def open_session(runtime: ModuleType, spec: str, path: str, threads: int, providers: Sequence[str]) -> Any:
    """An InferenceSession of the file, with `threads` threads a call.

    `runtime`: onnxruntime. Raises ValueError for providers that it does not have, ModelLoadError for a file that it
    cannot load.
    """
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # Failures are raised, and the engine logs them.
    options.enable_mem_pattern = False  # It would keep a plan for every length of audio.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # Waiting threads leave the CPU alone.
    unknown = set(providers) - set(runtime.get_available_providers())
    if unknown:
        raise ValueError(
            f"providers: expected some of {', '.join(runtime.get_available_providers())},"
            f" not {', '.join(sorted(unknown))}"
        )
    try:
        return runtime.InferenceSession(path, options, providers=list(providers))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelLoadError(f"model {spec!r}: onnxruntime cannot load it: {reason}") from error
