"""``voxgate load``: many live streams on a server, and a report of their results."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO, get_args

import uvloop

from voxgate import load, recordings
from voxgate.audio.files.read import read_audio
from voxgate.cli import VERBS
from voxgate.cli.arguments import positive_float, whole
from voxgate.cli.client import explain, recording
from voxgate.cli.display import Style
from voxgate.cli.interrupts import Interrupted, run_interruptible
from voxgate.cli.output import Output
from voxgate.cli.progress import Waiting
from voxgate.cli.token_option import add_token_option
from voxgate.client.redaction import public_url
from voxgate.load.material import BARE, WEBSOCKET, Framing
from voxgate.load.report import as_json, document, table
from voxgate.load.websocket import LoadWire
from voxgate.protocol.formats import MAX_RATE, MIN_RATE
from voxgate.protocol.tokens import clean_token

__all__ = ["EXIT_LATE", "execute", "prepare", "register", "run"]

EXIT_OK = 0
EXIT_BAD = 1
EXIT_USAGE = 2
EXIT_LATE = 3

N_OFFSETS = 4
SPARE_FILES = 64
_EPILOG = """\
Every stream plays the recording in a loop, in real time. See docs/load.md for the measures.

examples:
  voxgate load -n 200
  voxgate load -n 500 --addr wss://voice.example.com --duration 60 --json load.json
  voxgate load -n 50 --rate 48000 --channels 2 --chunk-ms 100 -i talk.flac
  voxgate load -n 100 --container webm --chunk-ms 100

exit code: 0 every stream got the results of the idle server; 1 some did not, or were refused; 2 wrong usage; 3 this
program was late, so that the numbers include its delays; 130 and 143 Ctrl-C or SIGTERM
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "load",
        help=VERBS["load"],
        description="Put live streams on a server, check their results, and measure the added latency.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-n", "--streams", type=whole(1, 100_000), default=10, help="live streams (%(default)s)")
    parser.add_argument("--addr", default="localhost:8080", metavar="URL", help="server (%(default)s)")
    parser.add_argument(
        "--wire",
        choices=get_args(LoadWire),
        default="native",
        help="websockets or gRPC, as with a grpc:// address; gRPC has no --reference (%(default)s)",
    )
    parser.add_argument(
        "--route",
        choices=("segmented", "simple", "stateful"),
        default="segmented",
        help="route of the server (%(default)s)",
    )
    parser.add_argument(
        "--duration", type=positive_float, default=30.0, metavar="S", help="audio of a stream, in seconds (%(default)g)"
    )
    parser.add_argument(
        "--ramp",
        type=positive_float,
        default=5.0,
        metavar="S",
        help="time in which the streams start, in seconds (%(default)g)",
    )
    parser.add_argument("--interim-results", action="store_true", help="request results during speech")
    parser.add_argument(
        "--reference",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="on the segmented route, compare streams with the idle server; else they must only be complete"
        " (%(default)s)",
    )
    add_token_option(parser)
    audio = parser.add_argument_group("audio")
    audio.add_argument(
        "-i",
        "--input",
        default="demo",
        metavar="FILE",
        help=f"sound file, or a bundled recording ({', '.join(recordings.names())}) (%(default)s)",
    )
    audio.add_argument(
        "--chunk-ms", type=whole(1, 10_000), default=20, metavar="MS", help="audio of a message, in ms (%(default)s)"
    )
    audio.add_argument(
        "--rate", type=whole(MIN_RATE, MAX_RATE), default=16_000, metavar="HZ", help="sample rate in Hz (%(default)s)"
    )
    audio.add_argument("--channels", type=whole(1, 64), default=1, help="interleaved channels (%(default)s)")
    audio.add_argument(
        "--encoding", choices=tuple(load.ENCODINGS), default="s16", help="encoding of a sample (%(default)s)"
    )
    audio.add_argument(
        "--container",
        choices=tuple(load.ENCODERS),
        help="send compressed audio in this container, at the recording's rate and channels; needs voxgate[media]",
    )
    measures = parser.add_argument_group("measures")
    measures.add_argument("--json", metavar="FILE", help="file for the whole report; - is stdout, without the table")
    measures.add_argument("--metrics", metavar="URL", help="source of the server's CPU time and memory (its /metrics)")
    measures.add_argument("--pid", type=whole(1, 2**31), help="process of a server on this machine")
    measures.add_argument(
        "--late-ms",
        type=positive_float,
        default=load.LATE_MS,
        metavar="MS",
        help="largest p99 of this program's lateness, in ms; beyond: exit code 3 (%(default)g)",
    )
    measures.add_argument(
        "--timeout",
        type=positive_float,
        default=30.0,
        metavar="S",
        help="longest wait for an answer, in seconds (%(default)g)",
    )
    parser.set_defaults(run=run)


class _UsageError(Exception):
    pass


def run(args: argparse.Namespace, clock: load.Clock = time.perf_counter) -> int:
    try:
        if args.ramp >= args.duration:
            raise _UsageError(
                f"--ramp {args.ramp:g} must be shorter than --duration {args.duration:g}, so that all are live at once"
            )
        _raise_file_limit(args.streams)
        if args.token is not None:
            args.token = clean_token(args.token)
        target = load.Target.of(args.addr, args.route, args.token, args.wire)
        args.wire = "grpc" if target.is_grpc else "native"
        framing = BARE if target.is_grpc else WEBSOCKET
        if args.container is None:
            material = prepare(args.input, args.rate, args.channels, args.encoding, args.chunk_ms, framing)
        else:
            material = _encoded(args, framing)
    except ImportError:
        return _complain("--container encodes with PyAV: install voxgate[media]", EXIT_USAGE)
    except (_UsageError, ValueError, OSError) as error:
        return _complain(error, EXIT_USAGE)
    notes = sys.stderr if args.json == "-" else sys.stdout
    with contextlib.ExitStack() as stack:
        try:
            output = None
            if args.json not in (None, "-"):
                output = stack.enter_context(Output(args.json, [recording(args.input)]))
        except (ValueError, OSError) as error:
            return _complain(error, EXIT_USAGE)
        return _run(args, clock, target, material, notes, output)


def _run(
    args: argparse.Namespace,
    clock: load.Clock,
    target: load.Target,
    material: load.Material,
    notes: TextIO,
    output: Output | None,
) -> int:
    try:
        outcome = run_interruptible(
            lambda _: execute(args, target, material, clock, lambda text: print(text, file=notes)),
            uvloop.new_event_loop,
        )
    except load.ReferenceFailed as error:
        return _complain(f"reference run at {public_url(target.url)}: {error}", EXIT_BAD)
    except Interrupted as error:
        print("\ninterrupted", file=sys.stderr)
        return error.exit_code
    report = document(outcome, _settings(args, target))
    if args.json != "-":
        print(table(outcome, args.late_ms, Style.of(sys.stdout)))
    if args.json == "-":
        sys.stdout.write(as_json(report))
    if output is not None:
        try:
            output.text.write(as_json(report))
            output.commit()
        except OSError as error:
            return _complain(error, EXIT_BAD)
    if outcome.is_late:
        return EXIT_LATE
    return EXIT_OK if outcome.counts.is_clean and outcome.has_window else EXIT_BAD


def prepare(
    source: str, rate: int, channels: int, encoding: str, chunk_ms: int, framing: Framing = WEBSOCKET
) -> load.Material:
    """The recording as messages. Raises OSError or ValueError for a recording that cannot be used."""
    planes, from_rate = read_audio(recording(source))
    return load.make_material(planes, from_rate, rate, channels, encoding, chunk_ms, framing)


def _encoded(args: argparse.Namespace, framing: Framing) -> load.Material:
    planes, from_rate = read_audio(recording(args.input))
    n_offsets = min(args.streams, N_OFFSETS)
    return load.encode_material(planes, from_rate, args.container, args.chunk_ms, _n_messages(args), n_offsets, framing)


def _n_messages(args: argparse.Namespace) -> int:
    duration_s, chunk_ms = float(args.duration), int(args.chunk_ms)
    return math.ceil(1000 * duration_s / chunk_ms)


async def execute(
    args: argparse.Namespace,
    target: load.Target,
    material: load.Material,
    clock: load.Clock,
    say: Callable[[str], Any],
    terminal: TextIO | None = None,
) -> load.Outcome:
    """Records the references, runs the load, and returns its outcome. `say` reports progress, and so does a line on
    `terminal` (default: stderr).

    Raises ReferenceFailed when the idle server gives no usable results.
    """
    terminal = sys.stderr if terminal is None else terminal
    n_messages = _n_messages(args)
    n_offsets = min(args.streams, N_OFFSETS)
    references: list[load.Reference] = []
    is_segmented = route_of(target.url) == "segmented"
    if is_segmented and args.reference and not target.is_grpc:
        say("recording the results of the idle server ...")
        start_frame = material.start_frame(args.interim_results, False, args.token)
        with Waiting(terminal, "the idle server"):
            references = await load.record_references(
                target, material, start_frame, n_messages, n_offsets, time.perf_counter, args.timeout
            )
    plan = load.Plan(
        target,
        material,
        n_messages,
        references,
        n_offsets,
        args.interim_results,
        args.token,
        covering=not is_segmented,
    )
    say(f"{args.streams} live streams to {public_url(target.url)} ...")
    with Waiting(terminal, f"{args.streams} streams", args.ramp + args.duration):
        return await load.run(plan, args.streams, args.ramp, clock, args.timeout, _sampler(args, target), args.late_ms)


def route_of(url: str) -> str:
    """The route of a stream's URL: the last part of its path."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


def _sampler(args: argparse.Namespace, target: load.Target) -> Callable[[], load.Cost] | None:
    if args.pid is not None:
        return functools.partial(load.from_pid, args.pid)
    if target.is_grpc and args.metrics is None:
        return None  # the port for gRPC has no metrics
    return functools.partial(load.from_metrics, args.metrics or f"{target.http}/metrics", args.token)


def _settings(args: argparse.Namespace, target: load.Target) -> dict[str, Any]:
    left_out = ("run", "token", "json", "addr", "verbose", "version")
    return {"url": public_url(target.url).partition("?")[0]} | {
        key: value for key, value in vars(args).items() if key not in left_out
    }


def _raise_file_limit(n_streams: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = n_streams + SPARE_FILES
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise _UsageError(
            f"{n_streams} streams need {needed} open files, and the limit of this process is {hard}: see ulimit -n"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _complain(error: Exception | str, code: int) -> int:
    text = explain(error) if isinstance(error, Exception) else error
    print(f"{Style.of(sys.stderr).red('voxgate load:')} {text}", file=sys.stderr, flush=True)
    return code
