"""The command ``voxgate-client``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from voxgate import __version__
from voxgate.cli import standard
from voxgate.cli.parser import Parser
from voxgate.errors import ConfigError

VERBS = {"client": "stream audio to a server and show the results"}


def main(argv: Sequence[str] | None = None) -> int:
    """Streams what the arguments name; returns the exit code, as `voxgate client` does."""
    from voxgate.cli import client

    standard.prepare()
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments in (["-V"], ["--version"]):
        print(f"voxgate-client {__version__}")
        return 0
    verbs = Parser(prog="voxgate-client").add_subparsers()
    client.register(verbs)
    parser = verbs.choices["client"]
    parser.prog = "voxgate-client"
    parser.epilog = str(parser.epilog).replace("voxgate client", "voxgate-client")
    try:
        args = parser.parse_args(arguments)
        code: int = args.run(args)
    except ConfigError as error:
        print(f"voxgate-client: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        return getattr(error, "exit_code", 130)
    return code
