"""``voxgate client``: stream a file, stdin or a microphone, and show the results."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from voxgate import client, recordings
from voxgate.audio.files import container_of, may_become_container
from voxgate.cli import VERBS, plot, standard
from voxgate.cli.arguments import positive_float, whole
from voxgate.cli.interrupts import Interrupted, run_interruptible
from voxgate.cli.output import Output, silence
from voxgate.cli.show import FORMATS, Shown, complain, explain, show
from voxgate.cli.token_option import add_token_option
from voxgate.client import AudioFormat, Microphone, Options, Reconnect, Source, TurnOptions, VadOptions
from voxgate.client.source import MAX_CHANNELS
from voxgate.client.wires import WIRES
from voxgate.errors import ConfigError
from voxgate.observe.tracing import Tracing, parse_traceparent
from voxgate.protocol.formats import MAX_RATE, ContainerFormat

__all__ = ["explain", "recording", "register", "run"]

EXIT_USAGE = 2
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
MAX_CHUNK_BYTES = 16 * 2**20
INPUT_HELP = f"sound file, or a bundled recording ({', '.join(recordings.names())})"
_EPILOG = """\
examples:
  voxgate client demo --interim-results
  voxgate client talk.wav --real-time --vad prefix_padding_ms=0 silence_duration_ms=400
  voxgate client talk.wav --option language=de --option 'hotwords=["Voxgate"]'
  voxgate client talk.mp3 --format srt -o talk.srt --plot talk.png
  voxgate client recording.m4a
  voxgate client mic --interim-results
  arecord -q -f S16_LE -r 16000 -c 1 -t raw | voxgate client - --rate 16000

On a terminal, the last lines show the level, speech, the current interim and the lag.

Ctrl-C or SIGTERM ends the audio; its results still arrive. A second one ends the client at once.

exit code: 0 every result arrived, also after Ctrl-C or SIGTERM with a microphone or stdin; 1 an error, missing results,
or an unwritable output; 2 wrong usage; 130 and 143 Ctrl-C or SIGTERM before the end of a file, or twice; 141 the reader
of the output closed it
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "client",
        help=VERBS["client"],
        description="Stream audio to a server and show the results.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "positional_input",
        nargs="?",
        metavar="FILE",
        help=f"{INPUT_HELP}; - is stdin, with --rate raw PCM; mic or mic:DEVICE is a microphone",
    )
    parser.add_argument("-i", "--input", metavar="FILE", help="the same as FILE")
    parser.add_argument(
        "--addr",
        default=client.DEFAULT_ADDR,
        metavar="URL",
        help="server; HOST:PORT is its segmented route (%(default)s)",
    )
    parser.add_argument(
        "--wire",
        choices=WIRES,
        default="native",
        help="API of the server (%(default)s)",
    )
    parser.add_argument(
        "--chunk-size",
        type=whole(1, MAX_CHUNK_BYTES),
        default=256,
        metavar="BYTES",
        help="bytes of an audio message (%(default)s)",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="let the server decode the file (the default where soundfile cannot, such as M4A and WebM)",
    )
    parser.add_argument("--real-time", action="store_true", help="send at the pace of a microphone")
    parser.add_argument("--interim-results", action="store_true", help="request results during speech")
    parser.add_argument(
        "--stability",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with --interim-results: show settled words brighter (default: yes)",
    )
    parser.add_argument("--format", choices=FORMATS, default="pretty", help="format of the output (%(default)s)")
    parser.add_argument("-o", "--output", metavar="FILE", help="file for the output (stdout)")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw waveform, speech and results; png, svg or pdf (needs matplotlib)"
    )
    parser.add_argument(
        "--reconnect",
        action=argparse.BooleanOptionalAction,
        help="connect again after a loss or a refusal, without losing audio (default: for microphones)",
    )
    session = parser.add_argument_group("session (beyond streamer-template's protocol)")
    for flag, detection, options in (("vad", "voice", VadOptions), ("turn", "turn", TurnOptions)):
        session.add_argument(
            f"--{flag}",
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            help=f"{detection} detection: " + ", ".join(options.__struct_fields__),
        )
    session.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the model, such as language=de; VALUE is JSON or text; may be repeated",
    )
    session.add_argument(
        "--notices",
        action=argparse.BooleanOptionalAction,
        help="show started, progress and finished notices",
    )
    session.add_argument(
        "--eager",
        action="store_true",
        help="show likely finals before the silence is over",
    )
    session.add_argument("--trace-id", metavar="TRACEPARENT", help="W3C traceparent of the session")
    add_token_option(session)
    session.add_argument(
        "--cert",
        metavar="FILE",
        help="certificate of this client (PEM), for server.tls_client_ca",
    )
    session.add_argument("--key", metavar="FILE", help="its private key (PEM), if in another file")
    session.add_argument(
        "--token-in",
        choices=("header", "start"),
        default="header",
        help="place of the token: the Authorization header or start (%(default)s)",
    )
    session.add_argument(
        "--timeout",
        type=positive_float,
        metavar="SECONDS",
        help="longest wait for a message after the audio, in seconds (no limit)",
    )
    raw = parser.add_argument_group("raw PCM from stdin, and microphones")
    raw.add_argument(
        "--rate",
        type=whole(1, MAX_RATE),
        metavar="HZ",
        help="sample rate in Hz; for stdin it means raw PCM (the microphone's own)",
    )
    raw.add_argument("--channels", type=whole(1, MAX_CHANNELS), help="interleaved channels (1)")
    raw.add_argument(
        "--encoding",
        choices=tuple(_ENCODINGS),
        help="encoding of raw PCM, little-endian; skips the check for a sound file (s16)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if (args.input is None) == (args.positional_input is None):
        expected = "expected one FILE" if args.input else "expected a FILE, such as talk.wav, mic, or the bundled demo"
        complain(
            expected + ("" if args.input is None else f", got {args.positional_input} and -i {args.input}"), sys.stderr
        )
        return EXIT_USAGE
    args.input = args.input or args.positional_input
    with contextlib.ExitStack() as stack:
        tracing = Tracing.from_environment("voxgate-client")
        if tracing is not None:
            stack.callback(lambda: asyncio.run(tracing.stop()))
        try:
            if args.plot:
                plot.check_target(args.plot)
            source = _source(args)
            inputs = [sys.stdin.fileno()] if args.input == "-" else [source] if isinstance(source, str) else []
            output = stack.enter_context(Output(args.output, inputs)) if args.output else None
            out = output.text if output is not None else sys.stdout
            notes = sys.stdout if args.format == "pretty" and not args.output else sys.stderr
            shown = Shown(out, notes, sys.stderr, args.format, bool(args.notices), args.plot is not None)
            options = _options(args, source, shown)
            options["tracing"] = tracing
            stream = client.stream(source, **options)
            if args.plot and isinstance(stream.format, ContainerFormat):
                raise _UsageError("--plot draws the waveform, and a file that is sent as it is is not decoded here")
            outputs = [args.output] if args.output else []
            picture = stack.enter_context(Output(plot.place_of(args.plot), inputs, outputs)) if args.plot else None
        except (_UsageError, ConfigError, ValueError, OSError, client.SourceError) as error:
            if _is_undecoded_stdin(args, error):
                complain(f"{str(error).removesuffix('.')}; raw PCM needs --rate HZ", sys.stderr)
            else:
                complain(error, sys.stderr)
            return EXIT_USAGE
        microphone = source if isinstance(source, Microphone) else None
        if microphone is not None:
            stack.callback(microphone.close)
        name = _name(args) if microphone is None else f"{microphone.name} (Ctrl-C ends it)"
        try:
            is_endless = microphone is not None or args.input == "-"
            return run_interruptible(
                lambda interrupts: show(
                    stream, name, shown, sys.stderr, interrupts, microphone, output, picture, is_endless
                )
            )
        except Interrupted as error:
            return error.exit_code
        except BrokenPipeError:
            # The reader closed our output. Python would report it again when it flushes stdout at exit.
            with contextlib.suppress(OSError, ValueError):
                silence(sys.stdout.fileno())
            return EXIT_PIPE


class _UsageError(Exception):
    pass


def recording(name: str) -> str:
    """The path of a recording: a file, or, when no such file exists, the bundled recording of that name."""
    return str(recordings.path(name)) if name in recordings.names() and not os.path.exists(name) else name


def _name(args: argparse.Namespace) -> str:
    return "stdin" if args.input == "-" else os.path.basename(args.input)


def _source(args: argparse.Namespace) -> Source:
    if args.input == "mic" or args.input.startswith("mic:"):
        return _microphone(args)
    if args.as_is and args.rate is not None:
        raise _UsageError("--as-is sends a file, and --rate says that stdin is raw PCM")
    if args.input != "-":
        for option in ("rate", "channels", "encoding"):
            if getattr(args, option) is not None:
                raise _UsageError(f"--{option} is for raw PCM from stdin (-i -); a file contains its format")
        return recording(args.input)
    if not standard.is_readable(sys.stdin.fileno()):
        raise _UsageError("-i - reads audio from stdin, which is closed")
    if sys.stdin.isatty():
        raise _UsageError("-i - reads audio from stdin, which is a terminal: pipe audio into it")
    if args.rate is not None:
        return _stdin_blocks(sys.stdin.fileno(), is_surely_raw=args.encoding is not None)
    for option in ("channels", "encoding"):
        if getattr(args, option) is not None:
            raise _UsageError(f"--{option} is for raw PCM, which also needs its sample rate: add --rate HZ")
    # Not sys.stdin.buffer: a blocked read in it holds a lock that the interpreter needs at exit.
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _is_undecoded_stdin(args: argparse.Namespace, error: Exception) -> bool:
    return args.input == "-" and args.rate is None and isinstance(error, client.SourceError)


def _certificate(args: argparse.Namespace) -> client.ClientCertificate | None:
    if args.cert is None and args.key is not None:
        raise _UsageError("--key is the key of a certificate: add --cert FILE")
    return None if args.cert is None else client.ClientCertificate(args.cert, args.key)


def _microphone(args: argparse.Namespace) -> Microphone:
    for option, wanted in (("encoding", args.encoding), ("real-time", args.real_time), ("as-is", args.as_is)):
        if wanted:
            raise _UsageError(f"--{option} is not supported for a microphone")
    _, _, device = args.input.partition(":")
    return Microphone(int(device) if device.isdecimal() else device or None, args.rate, args.channels or 1)


def _stdin_blocks(descriptor: int, is_surely_raw: bool) -> Iterator[bytes]:
    """The blocks of raw PCM. Raises SourceError when they begin like a sound file, unless `is_surely_raw`."""
    head = b""
    while not is_surely_raw and may_become_container(head) and (block := os.read(descriptor, _READ_BYTES)):
        head += block
    if not is_surely_raw and (container := container_of(head)) is not None:
        raise client.SourceError(
            f"stdin is not raw PCM but begins like a file in {container}: omit --rate to decode it, "
            "or add --encoding if it is raw PCM nevertheless"
        )
    if head:
        yield head
    while block := os.read(descriptor, _READ_BYTES):
        yield block


def _options(args: argparse.Namespace, source: Source, shown: Shown) -> Options:
    if args.trace_id is not None and parse_traceparent(args.trace_id) is None:
        raise _UsageError(
            "--trace-id: expected a W3C traceparent, 00-TRACE-SPAN-FLAGS of 32, 16 and 2 lower-case hexadecimal digits,"
            f" TRACE and SPAN not all zeros, got {args.trace_id!r}"
        )
    reconnect = isinstance(source, Microphone) if args.reconnect is None else args.reconnect
    options = Options(
        addr=args.addr,
        wire=args.wire,
        chunk_size=args.chunk_size,
        real_time=args.real_time,
        interim_results=args.interim_results,
        stability=args.interim_results and args.stability,
        eager=args.eager,
        vad=_tuned("vad", args.vad, VadOptions),
        turn=_tuned("turn", args.turn, TurnOptions),
        options=_model_options(args.option),
        notices=shown.wants_notices if args.notices is None else args.notices,
        trace_id=args.trace_id,
        token=args.token,
        token_in=args.token_in,
        certificate=_certificate(args),
        reconnect=Reconnect(on_notice=shown.show_notice) if reconnect else False,
        on_audio=shown.on_audio,
        as_is=args.as_is,
        result_timeout_s=args.timeout,
    )
    if args.input == "-" and args.rate is not None:
        bit_depth, is_float, encoding = _ENCODINGS[args.encoding or "s16"]
        options["format"] = AudioFormat(args.channels or 1, args.rate, bit_depth, is_float, encoding)
    return options


def _model_options(pairs: Sequence[str]) -> dict[str, Any] | None:
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise _UsageError(f"--option: expected KEY=VALUE, got {pair!r}")
        try:
            options[key] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            options[key] = text
    return options or None


_Tuned = TypeVar("_Tuned", VadOptions, TurnOptions)
_SWITCHES = {"true": True, "false": False}


def _tuned(flag: str, pairs: Sequence[str], kind: type[_Tuned]) -> _Tuned | None:
    fields: dict[str, float | int] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if key not in kind.__struct_fields__:
            raise _UsageError(f"--{flag}: unknown key {key!r}; expected one of {', '.join(kind.__struct_fields__)}")
        if text in _SWITCHES:
            fields[key] = _SWITCHES[text]
            continue
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _UsageError(f"--{flag} {key}: expected {key}=NUMBER, got {repr(text) if equals else 'nothing'}")
        fields[key] = int(number) if number.is_integer() else number
    if not fields:
        return None
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _UsageError(f"--{flag}: {str(error).replace('`', '').replace('$.', '')}") from None
