"""``voxgate serve``: the server."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any, Final

from voxgate.config import dump_toml, load_config
from voxgate.errors import ConfigError
from voxgate.runtime import logs
from voxgate.server.early_exit import EarlyExit

logger = logging.getLogger(__name__)

_EPILOG: Final = (
    "exit code: 0 SIGTERM or Ctrl-C ended it; 1 an unexpected failure; 2 a setting, a model or an"
    " address cannot be used; 130 and 143 a second Ctrl-C or SIGTERM ended it immediately"
)

FLAGS: Final = {
    "model": "model.name",
    "host": "server.host",
    "port": "server.port",
    "grpc_port": "grpc.port",
    "workers": "server.workers",
    "tls_certificate": "server.tls_certificate",
    "tls_key": "server.tls_key",
    "drain": "server.drain_s",
    "log_level": "server.log_level",
}
"""The settings with flags of their own, by flag."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb to the command line."""
    parser = verbs.add_parser(
        "serve", help="serve a model", description="Serve a model to live audio streams.", epilog=_EPILOG
    )
    parser.add_argument("--model", metavar="NAME", help="a built-in name, or pkg.module:attr of your model or function")
    parser.add_argument("--config", metavar="FILE", help="voxgate.toml or config.json")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", help="port to listen on; 0 takes a free one")
    parser.add_argument("--grpc-port", metavar="PORT", help="speak gRPC too, on this port; 0 takes a free one")
    parser.add_argument("--workers", metavar="N", help="server processes that share the port")
    parser.add_argument("--tls-certificate", metavar="FILE", help="use TLS with this certificate (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="the private key, if it is in a separate file")
    parser.add_argument("--drain", metavar="SECONDS", help="time for running sessions when the server stops")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="any setting by its dotted name, such as vad.threshold=0.6 or model.delay=0.1; may be repeated",
    )
    parser.add_argument("--print-config", action="store_true", help="print the effective settings as TOML and exit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until a signal ends it."""
    with EarlyExit() as early_exit:
        return _serve(args, early_exit)


def _serve(args: argparse.Namespace, early_exit: EarlyExit) -> int:
    overrides: dict[str, Any] = {key: getattr(args, flag) for flag, key in FLAGS.items()}
    for text in args.set:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"--set {text}: expected KEY=VALUE")
        overrides[key] = value
    notices: list[str] = []
    config = load_config(args.config, overrides=overrides, on_notice=notices.append)
    if args.print_config:
        for notice in notices:
            print(f"voxgate: {notice}", file=sys.stderr)
        print(dump_toml(config), end="")
        return 0

    logs.setup(config.server.log_level, config.server.log_format)
    for notice in notices:
        logger.warning("%s", notice)
    if config.server.workers > 1:
        from voxgate.server.supervisor import supervise  # imports no server: this process serves nobody

        return supervise(config, early_exit.over)
    from voxgate.server.standalone import serve  # a slow import, which the other verbs do not need

    return serve(config, early_exit.over)
