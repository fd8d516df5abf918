"""``voxgate serve``: the server."""

from __future__ import annotations

import argparse
from typing import Any

from voxgate import logs
from voxgate.config import dump_toml, load_config
from voxgate.errors import ConfigError


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb to the command line."""
    parser = verbs.add_parser("serve", help="serve a model", description="Serve a model to live audio streams.")
    parser.add_argument("--model", metavar="NAME", help="a built-in name, or pkg.module:attr of your model or function")
    parser.add_argument("--config", metavar="FILE", help="voxgate.toml or config.json")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", help="port to listen on; 0 takes a free one")
    parser.add_argument("--workers", metavar="N", help="server processes that share the port")
    parser.add_argument("--tls-certificate", metavar="FILE", help="speak TLS with this certificate (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, when that is in a file of its own")
    parser.add_argument("--drain", metavar="SECONDS", help="time for running sessions when the server is asked to end")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="any setting by its dotted name, such as vad.threshold=0.6 or model.delay=0.1; may be repeated",
    )
    parser.add_argument("--print-config", action="store_true", help="print the effective settings as TOML and stop")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until a signal ends it."""
    overrides: dict[str, Any] = {
        "server.host": args.host,
        "server.port": args.port,
        "server.workers": args.workers,
        "server.tls_certificate": args.tls_certificate,
        "server.tls_key": args.tls_key,
        "server.drain_s": args.drain,
        "server.log_level": args.log_level,
        "model": args.model,
    }
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected KEY=VALUE")
        overrides[key] = value
    config = load_config(args.config, overrides=overrides)
    if args.print_config:
        print(dump_toml(config), end="")
        return 0

    logs.setup(config.server.log_level, config.server.log_format)
    if config.server.workers > 1:
        from voxgate.supervisor import supervise  # and not the server, which it does not need

        return supervise(config)
    from voxgate.serving import serve  # the other verbs need no server

    return serve(config)
