"""``voxgate serve``: the server."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from typing import Any, Final

from voxgate.cli import VERBS
from voxgate.cli.set_option import add_set_option, settings_of
from voxgate.config import SETTINGS, Config, dump_toml, load_config
from voxgate.config.catalogue import plain
from voxgate.errors import ConfigError
from voxgate.runtime import logs
from voxgate.server.early_exit import EarlyExit

logger = logging.getLogger(__name__)

_EPILOG: Final = (
    "exit code: 0 SIGTERM or Ctrl-C; 1 an unexpected failure; 2 an unusable setting, model or address; 130 and 143 a"
    " second Ctrl-C or SIGTERM"
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
        "serve", help=VERBS["serve"], description="Serve a model to live audio streams.", epilog=_EPILOG
    )
    parser.add_argument(
        "positional_model",
        nargs="?",
        metavar="MODEL",
        help="a built-in name, or pkg.module:attr",
    )
    _add(parser, "--model", "NAME", "the same as MODEL")
    parser.add_argument("--config", metavar="FILE", help="voxgate.toml or config.json")
    _add(parser, "--host", None, "address to listen on")
    _add(parser, "--port", None, "port to listen on; 0 takes a free one")
    _add(parser, "--grpc-port", "PORT", "port for gRPC; 0 takes a free one")
    _add(parser, "--workers", "N", "server processes that share the port")
    _add(parser, "--tls-certificate", "FILE", "certificate for TLS (PEM)")
    _add(parser, "--tls-key", "FILE", "private key, if in another file")
    _add(parser, "--drain", "SECONDS", "time for running sessions at the end, in seconds")
    _add(parser, "--log-level", "LEVEL", "debug, info, warning, error or critical")
    add_set_option(parser, "any setting, such as vad.threshold=0.6 or model.delay=0.1; may be repeated")
    parser.add_argument("--print-config", action="store_true", help="print the settings in effect as TOML and exit")
    parser.add_argument(
        "--reload",
        action="store_true",
        help="restart when a file of the model or the configuration changes; needs voxgate[reload]",
    )
    parser.set_defaults(run=run)


def _add(parser: argparse.ArgumentParser, flag: str, metavar: str | None, about: str) -> None:
    """Adds the flag of a setting. The help shows the default of the setting; without the flag, the value is None."""
    default = SETTINGS[FLAGS[flag.removeprefix("--").replace("-", "_")]].default
    parser.add_argument(flag, metavar=metavar, help=about if default is None else f"{about} ({plain(default)})")


def run(args: argparse.Namespace) -> int:
    """Serves until a signal ends it."""
    if args.positional_model is not None:
        if args.model is not None:
            raise ConfigError(f"--model {args.model}: the model is {args.positional_model} already; give one of them")
        args.model = args.positional_model
    if args.reload and not args.print_config:
        from voxgate.cli.reload import serve_and_reload

        config, _ = _settings(args)
        return serve_and_reload(config.model.name, args.config, sys.argv[1:])
    try:
        with EarlyExit() as early_exit:
            return _serve(args, early_exit)
    except ConfigError as error:
        raise ConfigError(_as_typed(str(error), args)) from error


def _as_typed(text: str, args: argparse.Namespace) -> str:
    """An error about settings, with the names of the flags that were typed."""
    for flag, key in FLAGS.items():
        if getattr(args, flag) is not None:
            text = re.sub(rf"(?<![\w.-]){re.escape(key)}(?!\w)", f"--{flag.replace('_', '-')}", text)
    return text


def _settings(args: argparse.Namespace) -> tuple[Config, list[str]]:
    """The settings in effect, and the notices about them. Raises ConfigError with the flag that was typed."""
    overrides: dict[str, Any] = {key: getattr(args, flag) for flag, key in FLAGS.items()}
    flags = {key: f"--{flag.replace('_', '-')}" for flag, key in FLAGS.items()}
    if args.positional_model is not None:
        flags["model.name"] = "MODEL"
    for key, value in settings_of(args.set).items():
        overrides[key], flags[key] = value, f"--set {key}"
    notices: list[str] = []
    return load_config(args.config, overrides=overrides, on_notice=notices.append, flags=flags), notices


def _serve(args: argparse.Namespace, early_exit: EarlyExit) -> int:
    config, notices = _settings(args)
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
