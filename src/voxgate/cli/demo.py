"""``voxgate demo``: start a server, stream bundled speech through it, and show what comes back beside the truth."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TextIO

from voxgate import client, speech, tasks
from voxgate.cli.arguments import positive_float
from voxgate.cli.captions import Captions, print_word_errors
from voxgate.cli.client import explain
from voxgate.cli.display import PrettyRenderer, Style
from voxgate.client import ClientError, Options, RejectedError, Stream, VadOptions
from voxgate.client.connection import is_served, normalize_addr
from voxgate.config import load_config
from voxgate.errors import ConfigError
from voxgate.messages import UNSET, Active, Error, Event, Inactive, Segment
from voxgate.models.default import AUTO, choose

__all__ = ["Comparison", "Heard", "ServerFailed", "compare", "register", "run", "run_demo", "running_server"]

AGREE_S = 0.1
"""A listener agrees with times that are this close to the truth."""

_READY = re.compile(r"voxgate listening on (http://\S+)")
_STOP_TIMEOUT_S = 15.0
_SIMPLE_SPEED = 4.0
_CHUNK_MS = 2000
_WORD_ERROR_LIMIT = 0.1
"""What moonshine may get wrong of the bundled human speech: it gets 1 % to 3 % wrong, by how the speech is cut."""
_EPILOG = """\
Shown are the routes that the model serves: segmented, and stateful or else simple. With moonshine, which is the default
where it is installed, the segmented route alone: live captions of human speech, and the word error rate.

exit code: 0 every result arrived, all bundled utterances were heard where they are spoken (within 100 ms, human speech
150 ms), and moonshine got at most 10 % of the words wrong; 1 not so; 2 wrong usage; 130 interrupted
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="start a server, stream bundled speech through it, show what comes back beside the truth",
        description="Start a server, stream speech through it at live pace, and show what comes back beside the truth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--file",
        metavar="NAME|PATH",
        help=f"bundled speech ({', '.join(speech.names())}) or any sound file (reading with moonshine, else demo)",
    )
    parser.add_argument("--model", metavar="MODEL", help="model of the server, as for voxgate serve (its default)")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="setting of the server, as for voxgate serve"
    )
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--speed", type=positive_float, default=1.0, metavar="FACTOR", help="times live pace (%(default)g)"
    )
    pace.add_argument("--fast", action="store_true", help="as fast as the server takes it")
    parser.add_argument("--keep", action="store_true", help="leave the server running until Ctrl-C")
    parser.add_argument(
        "--start-timeout",
        type=positive_float,
        default=120.0,
        metavar="SECONDS",
        help="longest wait for the server; the very first start compiles the model's kernels (%(default)g)",
    )
    parser.set_defaults(run=run, captions=False)


def run(args: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "voxgate", "serve", "--host", "127.0.0.1", "--port", "0"]
    model = _served_model(args)
    if model == AUTO:
        model, reason = choose()  # as the server will
        print(f"model {model}, because {reason}", flush=True)
    args.captions = model.partition(":")[0] == "moonshine"
    args.file = args.file or ("reading" if args.captions else "demo")
    if args.model is not None:
        # Most models want more than the tenth of a second that is enough for `features`.
        command += ["--model", args.model, "--set", f"simple.min_chunk_ms={_CHUNK_MS}"]
    for setting in args.set:
        command += ["--set", setting]
    try:
        return asyncio.run(run_demo(args, command, sys.stdout))
    except KeyboardInterrupt:
        return 130
    except asyncio.CancelledError:  # SIGTERM
        return 128 + signal.SIGTERM
    except ServerFailed as error:
        print(f"voxgate demo: {error}", file=sys.stderr)
        return 1
    except (OSError, client.SourceError) as error:
        known = ", ".join(speech.names())
        print(f"voxgate demo: {explain(error)}\n(bundled speech: {known})", file=sys.stderr)
        return 2


def _served_model(args: argparse.Namespace) -> str:
    """The name in the settings of the server. Settings that it will refuse are left for it to report."""
    try:
        return load_config(overrides={"model": args.model, **dict(text.split("=", 1) for text in args.set)}).model.name
    except (ConfigError, ValueError):
        return args.model or AUTO


class ServerFailed(Exception):
    """The server did not come up, or did not go down, as it should. The text holds the end of its log."""


@contextlib.asynccontextmanager
async def running_server(
    command: Sequence[str], start_timeout_s: float, stop_timeout_s: float = _STOP_TIMEOUT_S
) -> AsyncIterator[str]:
    """Runs a server process and gives its URL (http://host:port) once it says that it listens.

    Ends it with SIGTERM, after `stop_timeout_s` with SIGKILL. Raises ServerFailed when it exits, says nothing, stays,
    or ends with a failure.
    """
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C is for us: we stop the server in good order
        )
        assert process.stdout is not None
        drain: asyncio.Task[None] | None = None
        try:
            url = await _wait_ready(process, process.stdout, log, start_timeout_s)
            drain = tasks.spawn_task(_drain(process.stdout), "voxgate-demo-server-output", "client")
            yield url
        finally:
            code, killed = await _stop(process, stop_timeout_s)
            if drain is not None:
                await drain
        if killed:
            raise ServerFailed(f"the server did not stop within {stop_timeout_s:g} s of SIGTERM and was killed")
        if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            raise ServerFailed(f"the server ended with exit code {code}{_tail(log)}")


async def _wait_ready(
    process: asyncio.subprocess.Process, output: asyncio.StreamReader, log: IO[bytes], timeout_s: float
) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            while line := await output.readline():
                if found := _READY.search(line.decode("utf-8", "replace")):
                    return found[1]
            code = await process.wait()
    except TimeoutError:
        raise ServerFailed(f"the server was not ready within {timeout_s:g} s{_tail(log)}") from None
    raise ServerFailed(f"the server did not start (exit code {code}){_tail(log)}")


async def _drain(output: asyncio.StreamReader) -> None:
    while await output.read(65_536):
        pass


async def _stop(process: asyncio.subprocess.Process, timeout_s: float) -> tuple[int, bool]:
    """Exit code, and whether it had to be killed."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait(), False
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait(), True


def _tail(log: IO[bytes], n_lines: int = 20) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").splitlines()[-n_lines:]
    return "".join(f"\n  | {line}" for line in lines)


@dataclass
class Heard:
    """One utterance as the server reported it, from its active to its inactive event, in seconds."""

    channel: int
    start_s: float
    end_s: float


@dataclass
class Comparison:
    """Heard against truth. `pairs` in order of time, `missed` and `extra` are what has no partner."""

    agree_s: float = AGREE_S
    pairs: list[tuple[Heard, speech.Utterance]] = field(default_factory=list)
    missed: list[tuple[int, speech.Utterance]] = field(default_factory=list)
    extra: list[Heard] = field(default_factory=list)

    @property
    def largest_difference_s(self) -> float:
        return max(
            (max(abs(heard.start_s - said.start_s), abs(heard.end_s - said.end_s)) for heard, said in self.pairs),
            default=0.0,
        )

    @property
    def agrees(self) -> bool:
        return not self.missed and not self.extra and self.largest_difference_s <= self.agree_s


def compare(
    heard: Sequence[Heard], truth: Sequence[Sequence[speech.Utterance]], agree_s: float = AGREE_S
) -> Comparison:
    """Pairs what was heard with what was said, per channel, each with the one it overlaps most."""
    result = Comparison(agree_s)
    left = list(heard)
    for channel, utterances in enumerate(truth):
        for said in utterances:
            candidates = [one for one in left if one.channel == channel and _overlap(one, said) > 0]
            if not candidates:
                result.missed.append((channel, said))
                continue
            best = max(candidates, key=lambda one: _overlap(one, said))
            left.remove(best)
            result.pairs.append((best, said))
    result.extra = left
    result.pairs.sort(key=lambda pair: (pair[1].start_s, pair[0].channel))
    return result


def _overlap(heard: Heard, said: speech.Utterance) -> float:
    return min(heard.end_s, said.end_s) - max(heard.start_s, said.start_s)


def _collect_heard(events: Sequence[Event]) -> list[Heard]:
    active: dict[int, float] = {}
    heard = []
    for event in events:
        if isinstance(event, Active):
            active[event.channel] = event.time
        elif isinstance(event, Inactive) and event.channel in active:
            heard.append(Heard(event.channel, active.pop(event.channel), event.time))
    return heard


async def run_demo(args: argparse.Namespace, command: Sequence[str], out: TextIO) -> int:
    """The whole demo with the server that `command` starts; returns the exit code."""
    style = Style.of(out)
    file = args.file or "demo"
    bundled = file in speech.names()
    path = speech.path(file) if bundled else Path(file)
    truth = speech.truth(file) if bundled else None
    client.stream(path)  # a file that cannot be read is told before a server is started for it
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    def say(text: str = "") -> None:
        print(text, file=out, flush=True)

    say(style.grey("starting a server: " + " ".join(["voxgate", *command[3:]])))
    begin = asyncio.get_running_loop().time()
    async with running_server(command, args.start_timeout) as url:
        say(style.grey(f"ready after {asyncio.get_running_loop().time() - begin:.1f} s at {url}"))
        routes = await _served_routes(url)
        if args.captions and "segmented" in routes:
            routes = ["segmented"]  # captions need utterances; pieces of fixed length would cut words apart
        if not routes:
            say(style.red(f"{style.tick(False)} the server takes no streams"))
        good = bool(routes)
        for route in routes:
            if route == "segmented":
                good = await _segmented(url, path, truth, args, style, out) and good
            else:
                good = await _whole(route, url, path, truth, args, style, out) and good
        say()
        if not args.keep:
            say("to keep the server, and its page to speak to: make demo ARGS=--keep, or voxgate demo --keep")
        else:
            say(f"the page to speak to it: {style.bold(url)}")
            interrupted = asyncio.Event()  # so that Ctrl-C ends the demo with its own exit code
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
            addr = url if "segmented" in routes else "".join([url, "/api/v1/", *routes[:1]])
            say(f"the server goes on at {style.bold(url)} (try: voxgate client -i {path} --addr {addr})")
            say("Ctrl-C stops it")
            await interrupted.wait()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    word = "all went well" if good else "something went wrong, see above"
    say((style.green if good else style.red)(f"{style.tick(good)} {word}"))
    return 0 if good else 1


async def _served_routes(url: str) -> list[str]:
    """The routes to show: the model may be made for some of them only, which the server alone knows."""
    asked = ("segmented", "stateful", "simple")
    served = await asyncio.gather(*(is_served(normalize_addr(f"{url}/api/v1/{route}")) for route in asked))
    found = [route for route, yes in zip(asked, served, strict=True) if yes]
    if "stateful" in found and "simple" in found:
        found.remove("simple")  # the same audio once more, without what makes the model special
    return found


async def _segmented(
    url: str,
    path: Path,
    truth: Sequence[Sequence[speech.Utterance]] | None,
    args: argparse.Namespace,
    style: Style,
    out: TextIO,
) -> bool:
    speed = 0.0 if args.fast else args.speed
    # Without padding the times are those of the speech itself, which is what a listener can check.
    stream = client.stream(
        path,
        **Options(
            addr=f"{url}/api/v1/segmented",
            real_time=speed,
            interim_results=True,
            vad=VadOptions(prefix_padding_ms=0, suffix_padding_ms=0),
        ),
    )
    print(f"\n{style.bold('segmented')}: {_what(path, stream, speed)} (vad: prefix_padding_ms 0)", file=out, flush=True)
    channels = stream.format.channels
    renderer = Captions(style, out, truth, channels) if args.captions else PrettyRenderer(style, channels)
    events, good = await _show(stream, renderer, style, out)
    if truth is None:
        return good
    comparison = compare(_collect_heard(events), truth, speech.tolerance_s(path.stem))
    print(f"\nheard, and what was said{style.grey(' (the truth of the bundled speech)')}:", file=out)
    many = len(truth) > 1
    for heard, said in comparison.pairs:
        near = max(abs(heard.start_s - said.start_s), abs(heard.end_s - said.end_s)) <= comparison.agree_s
        _print_pair(style, out, many, near, heard, said)
    for channel, said in comparison.missed:
        where = f"ch {channel}  " if many else ""
        text = f"not heard, spoken {said.start_s:.2f}{style.dash}{said.end_s:.2f} s  {style.quote(said.text)}"
        print(style.red(f"  {style.tick(False)} {where}{text}"), file=out)
    for heard in comparison.extra:
        where = f"ch {heard.channel}  " if many else ""
        text = f"heard {heard.start_s:.2f}{style.dash}{heard.end_s:.2f} s, where nobody spoke"
        print(style.red(f"  {style.tick(False)} {where}{text}"), file=out)
    n_said = sum(len(utterances) for utterances in truth)
    text = f"{len(comparison.pairs)} of {n_said} utterances heard"
    if comparison.pairs:
        text += f", at most {comparison.largest_difference_s * 1000:.0f} ms off"
    print(f"  {style.tick(comparison.agrees)} {text}", file=out, flush=True)
    understood = print_word_errors(
        events, truth, _WORD_ERROR_LIMIT if args.file == "reading" and args.captions else None, style, out
    )
    return good and comparison.agrees and understood


def _print_pair(style: Style, out: TextIO, many: bool, near: bool, heard: Heard, said: speech.Utterance) -> None:
    where = f"ch {heard.channel}  " if many else ""
    text = (
        f"heard {heard.start_s:5.2f}{style.dash}{heard.end_s:5.2f} s, "
        f"spoken {said.start_s:5.2f}{style.dash}{said.end_s:5.2f} s  {style.quote(said.text)}"
    )
    line = f"  {style.tick(near)} {where}{text}"
    print(line if near else style.red(line), file=out)


async def _whole(
    route: str,
    url: str,
    path: Path,
    truth: Sequence[Sequence[speech.Utterance]] | None,
    args: argparse.Namespace,
    style: Style,
    out: TextIO,
) -> bool:
    speed = 0.0 if args.fast else max(args.speed, _SIMPLE_SPEED)
    stream = client.stream(path, addr=f"{url}/api/v1/{route}", real_time=speed)
    print(f"\n{style.bold(route)}: {_what(path, stream, speed)}, one line shown per second", file=out, flush=True)
    renderer = _OnePerSecond(PrettyRenderer(style, stream.format.channels), truth, style)
    events, good = await _show(stream, renderer, style, out)
    if route == "stateful":
        for line in renderer.last():
            print(line, file=out, flush=True)
    if good:
        n_results = sum(isinstance(event, Segment) for event in events)
        text = f"{n_results} results cover all {stream.sent_s:.2f} s"
        if stream.format.channels > 1:
            text += f" of {stream.format.channels} channels"
        print(f"  {style.tick(True)} {text}", file=out, flush=True)
    return good


class _OnePerSecond:
    """Shows the first segment that ends in each second of a channel, with who speaks there; errors are always shown."""

    def __init__(
        self, renderer: PrettyRenderer, truth: Sequence[Sequence[speech.Utterance]] | None, style: Style
    ) -> None:
        self._renderer = renderer
        self._truth = truth
        self._style = style
        self._shown: dict[int, int] = {}
        self._hidden: dict[int, str] = {}

    def last(self) -> list[str]:
        """The last segment of each channel, where it has not been shown: a model may sum up in it."""
        return list(self._hidden.values())

    def line(self, event: Event) -> str | None:
        line = self._renderer.line(event)
        if not isinstance(event, Segment) or event.is_final is not UNSET:
            return line
        second = int(event.end_time)
        if second <= self._shown.get(event.channel, -1):
            self._hidden[event.channel] = line or ""
            return None
        self._shown[event.channel] = second
        self._hidden.pop(event.channel, None)
        if self._truth is None or event.channel >= len(self._truth):
            return line
        said = [
            one.text
            for one in self._truth[event.channel]
            if one.start_s < event.end_time and one.end_s > event.start_time
        ]
        return f"{line}  {self._style.grey('spoken: ' + ' '.join(map(self._style.quote, said)))}" if said else line


async def _show(
    stream: Stream, renderer: PrettyRenderer | _OnePerSecond | Captions, style: Style, out: TextIO
) -> tuple[list[Event], bool]:
    """Prints the events as they come; the events, and whether every result arrived and none was an error."""
    events: list[Event] = []
    good = True
    try:
        async with contextlib.aclosing(aiter(stream)) as source:
            async for event in source:
                events.append(event)
                good = good and not isinstance(event, Error)
                if (line := renderer.line(event)) is not None:
                    print(line, file=out, flush=True)
    except (ClientError, OSError) as error:
        # What a refused start says was shown as an event.
        text = "the server did not accept the session" if isinstance(error, RejectedError) else explain(error)
        print(style.red(f"  {style.tick(False)} {text}"), file=out, flush=True)
        good = False
    return events, good


def _what(path: Path, stream: Stream, speed: float) -> str:
    pace = "as fast as possible" if not speed else "at live pace" if speed == 1 else f"at {speed:g} x live pace"
    seconds = "" if stream.duration_s is None else f", {stream.duration_s:.1f} s"
    return f"{path.name}{seconds}, {pace}"
