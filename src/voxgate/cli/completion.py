"""``voxgate --completion SHELL``: a script with which a shell completes verbs, options and files."""

from __future__ import annotations

import argparse

from voxgate.errors import ConfigError

__all__ = ["completion"]

_FILES = ("file", "input", "config", "output", "plot", "json", "tls_certificate", "tls_key", "weights")
"""The arguments whose value is a file."""


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for `shell`: bash, zsh or tcsh. Raises ConfigError when shtab is not installed."""
    try:
        import shtab
    except ImportError:
        raise ConfigError("--completion needs shtab: pip install 'voxgate[completion]'") from None
    _mark_files(parser, shtab.FILE)
    return str(shtab.complete(parser, shell))


def _mark_files(parser: argparse.ArgumentParser, mark: object) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _mark_files(below, mark)
        elif action.dest in _FILES:
            action.complete = mark  # type: ignore[attr-defined]
