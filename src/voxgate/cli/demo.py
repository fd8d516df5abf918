"""``voxgate demo``: start a server, stream a bundled recording through it, and show the results beside the truth."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from voxgate import client, recordings
from voxgate.cli import VERBS, standard
from voxgate.cli.arguments import positive_float
from voxgate.cli.comparison import TOLERANCE_S
from voxgate.cli.demo_routes import Demo
from voxgate.cli.display import Style
from voxgate.cli.interrupts import Interrupted, Interrupts, run_interruptible
from voxgate.cli.progress import Waiting
from voxgate.cli.server_process import ServerFailed, running_server
from voxgate.cli.set_option import add_set_option
from voxgate.cli.show import explain
from voxgate.client.connection import is_served, normalize_addr
from voxgate.config import load_config
from voxgate.errors import ConfigError
from voxgate.models.default import AUTO, choose

__all__ = ["register", "run", "run_demo"]

_CHUNK_MS = 2000
_WORD_ERROR_LIMIT = 0.1
"""Of moonshine on the bundled human speech. It gets 1 % to 3 % wrong, depending on how the detector cuts the speech."""
_EPILOG = """\
The demo shows the model's routes: segmented, and stateful or simple. With moonshine, the default if installed, it shows
captions of human speech and the word error rate.

exit code: 0 every result arrived, bundled utterances were found within 100 ms (human speech 150 ms), and moonshine got
at most 10 % of the words wrong; 1 otherwise; 2 wrong usage; 130 interrupted
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help=VERBS["demo"],
        description="Stream a recording through a new server in real time, and compare the results with the truth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--file",
        metavar="NAME|PATH",
        help=(
            f"sound file, or a bundled recording: {', '.join(recordings.names())} (reading with moonshine, else demo)"
        ),
    )
    parser.add_argument("--model", metavar="MODEL", help="model, as for voxgate serve")
    add_set_option(parser, "setting, as for voxgate serve")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--speed", type=positive_float, default=1.0, metavar="FACTOR", help="pace relative to real time (%(default)g)"
    )
    pace.add_argument("--fast", action="store_true", help="send as fast as the server accepts audio")
    parser.add_argument("--keep", action="store_true", help="keep the server until Ctrl-C")
    parser.add_argument(
        "--start-timeout",
        type=positive_float,
        default=120.0,
        metavar="SECONDS",
        help="longest wait for the server, in seconds (%(default)g)",
    )
    parser.set_defaults(run=run, with_captions=False)


def run(args: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "voxgate", "serve", "--host", "127.0.0.1", "--port", "0"]
    model = _served_model(args)
    if model == AUTO:
        model, reason = choose()  # the server chooses the same
        print(f"model {model}, because {reason}", flush=True)
    args.with_captions = model.partition(":")[0] == "moonshine"
    args.file = args.file or ("reading" if args.with_captions else "demo")
    if args.model is not None:
        # Most models need longer chunks than the 0.1 s that is enough for `features`.
        command += ["--model", args.model, "--set", f"simple.min_chunk_ms={_CHUNK_MS}"]
    for setting in args.set:
        command += ["--set", setting]
    try:
        return run_interruptible(lambda interrupts: run_demo(args, command, sys.stdout, interrupts))
    except Interrupted as error:
        return error.exit_code
    except ServerFailed as error:
        print(f"voxgate demo: {error}", file=sys.stderr)
        return 1
    except (OSError, client.SourceError) as error:
        if isinstance(error, OSError) and error.filename == standard.NAME:
            raise
        known = ", ".join(recordings.names())
        print(f"voxgate demo: {explain(error)}\n(bundled recordings: {known})", file=sys.stderr)
        return 2


def _served_model(args: argparse.Namespace) -> str:
    """The name in the settings of the server. The server itself reports settings that it refuses."""
    try:
        return load_config(overrides={"model": args.model, **dict(text.split("=", 1) for text in args.set)}).model.name
    except (ConfigError, ValueError):
        return args.model or AUTO


async def run_demo(args: argparse.Namespace, command: Sequence[str], out: TextIO, interrupts: Interrupts) -> int:
    """Runs the whole demo with the server that `command` starts; returns the exit code."""
    style = Style.of(out)
    name = args.file or "demo"
    is_bundled = name in recordings.names()
    path = recordings.path(name) if is_bundled else Path(name)
    client.stream(path)  # reports an unreadable file before the server starts

    def say(text: str = "") -> None:
        print(text, file=out, flush=True)

    say(style.grey("starting a server: " + " ".join(["voxgate", *command[3:]])))
    begin_s = asyncio.get_running_loop().time()
    async with contextlib.AsyncExitStack() as stack:
        with Waiting(out, "the server starts and loads its model"):
            url = await stack.enter_async_context(running_server(command, args.start_timeout))
        say(style.grey(f"ready after {asyncio.get_running_loop().time() - begin_s:.1f} s at {url}"))
        demo = Demo(
            url,
            path,
            recordings.truth(name) if is_bundled else None,
            0.0 if args.fast else args.speed,
            style,
            out,
            tolerance_s=recordings.tolerance_s(name) if is_bundled else TOLERANCE_S,
            with_captions=args.with_captions,
            word_error_limit=_WORD_ERROR_LIMIT if args.with_captions and name == "reading" else None,
        )
        routes = await _served_routes(url)
        if args.with_captions and "segmented" in routes:
            routes = ["segmented"]  # captions need utterances; pieces of fixed length would cut words apart
        if not routes:
            say(style.red(f"{style.tick(False)} the server accepts no streams"))
        is_good = bool(routes)
        for route in routes:
            is_good = await demo.run(route) and is_good
        say()
        if args.keep:
            addr = url if "segmented" in routes else "".join([url, "/api/v1/", *routes[:1]])
            say(f"the page to speak to the server: {style.bold(url)}")
            say(f"the server is running at {style.bold(url)} (try: voxgate client {path} --addr {addr})")
            say("Ctrl-C stops it")
            await _wait_for_ctrl_c(interrupts)
        else:
            say("to keep the server, and its page to speak to: make demo ARGS=--keep, or voxgate demo --keep")
    text = "all checks passed" if is_good else "something went wrong, see above"
    say((style.green if is_good else style.red)(f"{style.tick(is_good)} {text}"))
    return 0 if is_good else 1


async def _wait_for_ctrl_c(interrupts: Interrupts) -> None:
    interrupted = asyncio.Event()

    def stop(number: int) -> bool:
        if number != signal.SIGINT:
            return False
        interrupted.set()  # so that the demo ends with its own exit code
        return True

    with interrupts.stopping(stop):
        await interrupted.wait()


async def _served_routes(url: str) -> list[str]:
    """The routes to show. Only the server knows which routes the model serves."""
    routes = ("segmented", "stateful", "simple")
    answers = await asyncio.gather(*(is_served(normalize_addr(f"{url}/api/v1/{route}")) for route in routes))
    served = [route for route, answer in zip(routes, answers, strict=True) if answer]
    if "stateful" in served and "simple" in served:
        served.remove("simple")  # the same audio once more, without what distinguishes the model
    return served
