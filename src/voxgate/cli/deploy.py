"""``voxgate deploy``: a model on a Ray cluster, for servers with ``inference.engine = "ray"``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from voxgate.cli import VERBS
from voxgate.cli.arguments import number, whole
from voxgate.cli.set_option import add_set_option, settings_of
from voxgate.config import load_config
from voxgate.config.document import plain_options
from voxgate.inference.engine.ray.app import Deployment, deploy, parse_replicas, serve_config
from voxgate.models.default import AUTO, choose

__all__ = ["register", "run"]


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb to the command line."""
    parser = verbs.add_parser(
        "deploy",
        help=VERBS["deploy"],
        description="Deploy or update a model on a Ray cluster, for servers with inference.engine = 'ray'. Needs"
        " voxgate[ray].",
        epilog="exit code: 0 all replicas are ready, or the file is written; 2 an unusable setting or cluster, or no"
        " replicas",
    )
    parser.add_argument("--model", metavar="NAME", help="as for voxgate serve (that of --config)")
    parser.add_argument("--config", metavar="FILE", help="file with the sections model and ray")
    parser.add_argument("--app", metavar="NAME", help="Ray Serve application (ray.app)")
    parser.add_argument("--address", help="cluster: auto, HOST:PORT or ray://HOST:PORT (ray.address)")
    parser.add_argument(
        "--replicas", default="1", metavar="N", help="copies of the model: 2, or 1..8 to follow the load (%(default)s)"
    )
    parser.add_argument(
        "--gpus", type=number(0, 1024), default=0.0, metavar="N", help="GPUs of a replica (%(default)g)"
    )
    parser.add_argument(
        "--cpus", type=number(0, 4096), default=1.0, metavar="N", help="CPUs of a replica (%(default)g)"
    )
    parser.add_argument(
        "--calls",
        type=whole(1, 1024),
        default=2,
        metavar="N",
        help="concurrent calls of a replica; 2 hide its distance (%(default)s)",
    )
    parser.add_argument(
        "--hang-timeout",
        type=number(1, 86_400),
        default=120.0,
        metavar="S",
        help="longest call of a replica, in seconds; then it is replaced (%(default)g)",
    )
    parser.add_argument("--working-dir", metavar="DIR", help="folder with the model's code, which Ray copies")
    add_set_option(parser, "argument of the model, such as model.size=small; may be repeated", "model.")
    parser.add_argument(
        "--print-config", action="store_true", help="print a Ray Serve configuration file, and do not deploy"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write this file, and do not deploy")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Deploys, or writes the configuration file; exit code 0."""
    overrides = {"model.name": args.model, "ray.app": args.app, "ray.address": args.address, **settings_of(args.set)}
    config = load_config(args.config, overrides=overrides)
    least, most = parse_replicas(args.replicas)
    deployment = Deployment(
        choose().name if config.model.name == AUTO else config.model.name,
        plain_options(config),
        app=config.ray.app,
        min_replicas=least,
        max_replicas=most,
        gpus=args.gpus,
        cpus=args.cpus,
        calls=args.calls,
        hang_timeout_s=args.hang_timeout,
        start_anyway=config.inference.start_anyway,
        working_dir=args.working_dir,
    )
    if args.print_config or args.out is not None:
        # JSON is YAML, which Ray and Kubernetes read.
        text = json.dumps(serve_config(deployment), indent=2)
        if args.out is not None:
            args.out.write_text(text + "\n")
        else:
            print(text)
        return 0
    deploy(deployment, config.ray.address)
    print(f"voxgate: deployed {deployment.model} as {deployment.app}", file=sys.stderr)
    return 0
