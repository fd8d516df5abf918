"""``voxgate client``: stream a file, or raw PCM from stdin, and show what comes back."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import msgspec

from voxgate import client, speech, tasks
from voxgate.cli.display import JsonlRenderer, PrettyRenderer, ProgressBar, Renderer, Style, count
from voxgate.client import AudioFormat, ClientError, Options, Source, Stream, VadOptions
from voxgate.tracing import Tracing

__all__ = ["explain", "recording", "register", "run", "show"]

EXIT_OK = 0
EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141

_ENCODINGS: dict[str, tuple[int, bool, str | None]] = {
    "s16": (16, False, None),
    "f32": (32, True, None),
    "u8": (8, False, None),
    "s24": (24, False, None),
    "s32": (32, False, None),
    "f64": (64, True, None),
    "mulaw": (8, False, "mulaw"),
    "alaw": (8, False, "alaw"),
}
_READ_BYTES = 65_536
INPUT_HELP = f"any file that soundfile reads, or the name of bundled speech ({', '.join(speech.names())})"
_EPILOG = """\
examples:
  voxgate client -i demo --interim-results
  voxgate client -i talk.flac --notices
  voxgate client -i talk.wav --real-time --vad prefix_padding_ms=0 silence_duration_ms=400
  voxgate client -i talk.wav --format jsonl | jq 'select(.is_final)'
  arecord -q -f S16_LE -r 16000 -c 1 -t raw | voxgate client -i - --rate 16000

exit code: 0 every result arrived; 1 an error, or results are missing; 2 wrong usage; 130 interrupted
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "client",
        help="stream audio to a server and show what comes back",
        description="Stream audio to a server and show what comes back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-i", "--input", required=True, metavar="FILE", help=f"{INPUT_HELP}; - is raw PCM from stdin")
    parser.add_argument(
        "--addr",
        default=client.DEFAULT_ADDR,
        metavar="URL",
        help="server; HOST:PORT will do for the segmented route (%(default)s)",
    )
    parser.add_argument(
        "--chunk-size",
        type=_positive_int,
        default=256,
        metavar="BYTES",
        help="length of an audio message (%(default)s)",
    )
    parser.add_argument("--real-time", action="store_true", help="send at the pace of a microphone")
    parser.add_argument("--interim-results", action="store_true", help="ask for results while somebody speaks")
    parser.add_argument("--format", choices=("pretty", "jsonl"), default="pretty", help="of the output (%(default)s)")
    session = parser.add_argument_group("session (beyond streamer-template's protocol)")
    session.add_argument(
        "--vad",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="tune the voice-activity detection: " + ", ".join(VadOptions.__struct_fields__),
    )
    session.add_argument("--notices", action="store_true", help="ask for started, progress and finished notices")
    session.add_argument("--trace-id", metavar="TRACEPARENT", help="W3C traceparent of the session")
    session.add_argument(
        "--token",
        default=os.environ.get("VOXGATE_TOKEN") or None,
        help="credentials (better in VOXGATE_TOKEN: other users see command lines)",
    )
    session.add_argument(
        "--timeout",
        type=_positive_float,
        metavar="SECONDS",
        help="longest silence to bear once everything is sent (no limit)",
    )
    raw = parser.add_argument_group("raw PCM from stdin")
    raw.add_argument("--rate", type=_positive_int, metavar="HZ", help="sample rate; required with -i -")
    raw.add_argument("--channels", type=_positive_int, help="interleaved channels (1)")
    raw.add_argument("--encoding", choices=tuple(_ENCODINGS), help="of a sample, little-endian (s16)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    tracing = Tracing.from_environment("voxgate-client")
    try:
        source, options = _source(args), _options(args)
        options["tracing"] = tracing
        stream = client.stream(source, **options)
    except (_UsageError, ValueError, OSError, client.SourceError) as error:
        _complain(error)
        return EXIT_USAGE
    try:
        return asyncio.run(show(stream, _name(args), args.format, sys.stdout, sys.stderr))
    except KeyboardInterrupt:
        print(f"\ninterrupted after {stream.sent_s:.1f} s of audio", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain once more when it flushes stdout at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    finally:
        if tracing is not None:
            asyncio.run(tracing.stop())


async def show(stream: Stream, name: str, format: str, out: TextIO, err: TextIO) -> int:
    """Iterates `stream`, prints its events to `out` and everything else to `err`, and returns the exit code.

    With the pretty format the summary goes to `out`; with jsonl `out` holds nothing but events.
    """
    style = Style.of(out)
    channels = stream.format.channels
    renderer: Renderer = JsonlRenderer() if format == "jsonl" else PrettyRenderer(style, channels)
    notes = err if format == "jsonl" else out
    notes_style = Style.of(notes)
    print(notes_style.grey(_header(stream, name, notes_style)), file=notes, flush=True)
    bar = ProgressBar(err, stream.duration_s, enabled=err.isatty() and os.environ.get("TERM") != "dumb")
    loop = asyncio.get_running_loop()

    def draw() -> None:
        check = stream.check
        bar.update(loop.time(), stream.sent_s, stream.stop_sent, check.n_results + check.n_interims)

    failure: Exception | None = None
    ticker = tasks.spawn_task(_tick(draw), "voxgate-client-bar", "client") if err.isatty() else None
    try:
        async with contextlib.aclosing(aiter(stream)) as events:
            async for event in events:
                if (line := renderer.line(event)) is not None:
                    bar.clear()
                    print(line, file=out, flush=True)
                    draw()
    except (ClientError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        failure = error
    finally:
        if ticker is not None:
            ticker.cancel()
        bar.clear()
    if stream.total_s is not None:
        print(notes_style.grey(_summary(stream)), file=notes, flush=True)
    if isinstance(failure, client.RejectedError) and format == "pretty":
        _complain("the server did not accept the session", err)  # its error was shown as an event
    elif failure is not None:
        _complain(failure, err)
    return EXIT_OK if failure is None and not stream.check.n_errors else EXIT_INCOMPLETE


async def _tick(draw: Any) -> None:
    while True:
        draw()
        await asyncio.sleep(0.1)


def _header(stream: Stream, name: str, style: Style) -> str:
    format = stream.format
    length = "" if stream.duration_s is None else f"{stream.duration_s:.1f} s, "
    channels = "1 channel" if format.channels == 1 else f"{format.channels} channels"
    return f"{name}: {length}{format.sample_rate} Hz, {channels}, {format.pcm_encoding}, to {stream.addr}"


def _summary(stream: Stream) -> str:
    check = stream.check
    first = "no message" if stream.first_event_s is None else f"first message after {stream.first_event_s:.2f} s"
    total_s = stream.total_s or 0.0
    text = f"{first}, {total_s:.2f} s in total for {stream.sent_s:.2f} s of audio"
    if total_s > 0 and stream.sent_s > 0:
        text += f" ({stream.sent_s / total_s:.1f} x real time)"
    counts = [count(check.n_results, "result")]
    if check.n_interims:
        counts.append(count(check.n_interims, "interim"))
    counts.append(count(check.n_errors, "error"))
    return f"{text}; {', '.join(counts)}"


class _UsageError(Exception):
    pass


def recording(name: str) -> str:
    """The path of a recording: a file, or where there is none of that name, bundled speech of that name."""
    return str(speech.path(name)) if name in speech.names() and not os.path.exists(name) else name


def explain(error: Exception) -> str:
    """What went wrong, in words for a person; a missing file without its number."""
    text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
    return text or type(error).__name__


def _complain(error: Exception | str, err: TextIO | None = None) -> None:
    err = sys.stderr if err is None else err
    text = explain(error) if isinstance(error, Exception) else error
    print(f"{Style.of(err).red('voxgate client:')} {text}", file=err, flush=True)


def _name(args: argparse.Namespace) -> str:
    return "stdin" if args.input == "-" else os.path.basename(args.input)


def _source(args: argparse.Namespace) -> Source:
    if args.input != "-":
        for option in ("rate", "channels", "encoding"):
            if getattr(args, option) is not None:
                raise _UsageError(f"--{option} is for raw PCM from stdin (-i -); a file knows it itself")
        return recording(args.input)
    if args.rate is None:
        raise _UsageError("raw PCM from stdin needs its sample rate: add --rate HZ")
    if sys.stdin.isatty():
        raise _UsageError("-i - reads raw PCM from stdin, which is a terminal: pipe audio into it")
    return _stdin_blocks(sys.stdin.fileno())


def _stdin_blocks(descriptor: int) -> Iterator[bytes]:
    # Not sys.stdin.buffer: a read that is stuck in it at exit holds a lock which the interpreter wants.
    while block := os.read(descriptor, _READ_BYTES):
        yield block


def _options(args: argparse.Namespace) -> Options:
    options = Options(
        addr=args.addr,
        chunk_size=args.chunk_size,
        real_time=args.real_time,
        interim_results=args.interim_results,
        vad=_vad_options(args.vad),
        notices=args.notices,
        trace_id=args.trace_id,
        token=args.token,
        result_timeout_s=args.timeout,
    )
    if args.input == "-":
        bit_depth, is_float, encoding = _ENCODINGS[args.encoding or "s16"]
        options["format"] = AudioFormat(args.channels or 1, args.rate, bit_depth, is_float, encoding)
    return options


def _vad_options(pairs: Sequence[str]) -> VadOptions | None:
    fields: dict[str, float | int] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if key not in VadOptions.__struct_fields__:
            raise _UsageError(f"--vad: unknown key {key!r}; there are {', '.join(VadOptions.__struct_fields__)}")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _UsageError(f"--vad {key}: expected {key}=NUMBER, got {repr(text) if equals else 'nothing'}")
        fields[key] = int(number) if number.is_integer() else number
    if not fields:
        return None
    try:
        return msgspec.convert(fields, VadOptions)
    except msgspec.ValidationError as error:
        raise _UsageError(f"--vad: {str(error).replace('`', '').replace('$.', '')}") from None


def _positive_int(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value
