"""One stream on a terminal or in a file: its events as they arrive, its status, and a summary."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any, TextIO

from voxgate import client
from voxgate.cli import plot, standard
from voxgate.cli.display import JsonlRenderer, PrettyRenderer, Renderer, Style, count, format_output, printable
from voxgate.cli.interrupts import Interrupts
from voxgate.cli.live import LiveStatus, View
from voxgate.cli.meter import Meter
from voxgate.cli.output import Output
from voxgate.cli.subtitles import Subtitles
from voxgate.client import ClientError, ClosedError, Lost, Microphone, RefusedError, Resumed, Stream
from voxgate.client.redaction import public_url
from voxgate.protocol.events import Active, Draining, Error, Event, Finished, Inactive, Progress, Segment, Started
from voxgate.protocol.formats import AUTO, AudioFormat, ContainerFormat
from voxgate.runtime import tasks

__all__ = ["FORMATS", "Shown", "complain", "explain", "show"]

FORMATS = ("pretty", "jsonl", "srt", "vtt")
EXIT_OK = 0
EXIT_INCOMPLETE = 1

_ADVICE = {
    401: "give a token with --token or VOXGATE_TOKEN",
    403: "the server does not admit this client, with this token or from this address: ask its operator",
    404: "check the address, see --addr",
    429: "this client has too many streams or requests: wait, or use --reconnect",
    503: "try again later, or use --reconnect",
}


def explain(error: Exception) -> str:
    """The text of an error; an OSError without its number."""
    text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
    # Much of it may be a server's text. Some errors list alternatives on several lines.
    return "\n".join(map(printable, text.split("\n"))) or type(error).__name__


def complain(error: Exception | str, err: TextIO) -> None:
    """Prints an error, and advice if there is any."""
    text = explain(error) if isinstance(error, Exception) else error
    advice = None
    if isinstance(error, RefusedError):
        advice = _ADVICE.get(error.status)
    elif isinstance(error, ClosedError) and error.reason == "unauthorized":  # no token, or a bad one in `start`
        advice = _ADVICE[401]
    print(f"{Style.of(err).red('voxgate client:')} {text}", file=err)
    if advice is not None:
        print(f"  {advice}", file=err)
    err.flush()


class Shown:
    """Shows a stream while it runs: its audio (`on_audio`), its events (`take`) and lost connections (`show_notice`).

    Events go to `out`, header and summary to `notes`, status and errors to `err`. `own_notices`: whether notices are
    shown; otherwise they only feed the status.
    """

    def __init__(
        self, out: TextIO, notes: TextIO, err: TextIO, format: str, own_notices: bool = False, plots: bool = False
    ) -> None:
        self.live = LiveStatus(err, err.isatty() and os.environ.get("TERM") != "dumb")
        self.format = format
        self.notes = notes
        self.n_events = 0
        self._out, self._err = out, err
        self._own_notices = own_notices
        self._plots = plots
        self._n_channels = 0
        # The status shows the interim, so that no line among the results is needed.
        self._in_place = self.live.enabled and out.isatty()
        self.stream: Stream | None = None
        self._renderer: Renderer | None = None
        self._meter: Meter | None = None
        self._subtitles = Subtitles(1)
        self._interims: dict[int, Segment] = {}  # the newest one is the last
        self._open: dict[int, float] = {}  # channel: start of its current speech
        self._bands: dict[int, list[tuple[float, float]]] = {}
        self._labels: dict[int, list[plot.Label]] = {}
        self._lag_s: float | None = None
        self._real_time_factor: float | None = None
        self._trouble = ""

    @property
    def wants_notices(self) -> bool:
        """Whether the status uses notices."""
        return self.live.enabled and self.format == "pretty"

    def begin(self, stream: Stream) -> None:
        self.stream = stream
        self._learn_channels()
        if (self.live.enabled or self._plots) and isinstance(stream.format, AudioFormat):
            self._meter = Meter(stream.format, plot.POINTS if self._plots else 0)

    def _learn_channels(self) -> None:
        """How many there are; of a container, only the server knows, and tells it before any result."""
        assert self.stream is not None
        if (channels := self.stream.channels) == self._n_channels:
            return
        self._n_channels = channels
        self._renderer = PrettyRenderer(Style.of(self._out), channels) if self.format == "pretty" else JsonlRenderer()
        self._subtitles = Subtitles(channels)

    def on_audio(self, data: memoryview) -> None:
        if self._meter is not None:
            self._meter.take(data)

    def take(self, event: Event) -> None:
        """Shows an event."""
        self._learn_channels()
        self.n_events += 1
        channel = event.channel
        match event:
            case Active(time=time_s):
                self._open[channel] = time_s
            case Inactive(time=time_s):
                self._bands.setdefault(channel, []).append((self._open.pop(channel, time_s), time_s))
            case Segment(is_final=False):
                self._interims.pop(channel, None)
                self._interims[channel] = event
            case Segment():
                self._interims.pop(channel, None)
                if self._plots:
                    text = event.output.get("text")
                    text = printable(text) if isinstance(text, str) else format_output(event.output, Style())
                    label = plot.Label(event.start_time, event.end_time, text)
                    self._labels.setdefault(channel, []).append(label)
            case Error():
                self._interims.pop(channel, None)
            case Progress():
                self._lag_s, self._real_time_factor = event.lag_s, event.real_time_factor
        if self.format in ("srt", "vtt"):
            self._subtitles.take(event)
            if isinstance(event, Error | Draining):
                self.say(PrettyRenderer(Style.of(self._err), 1).line(event) or "")
            return
        assert self._renderer is not None
        if not self._hidden(event) and (line := self._renderer.line(event)) is not None:
            self._print(line, self._out)

    def _hidden(self, event: Event) -> bool:
        """Whether the status shows the event instead, or it was not requested."""
        if isinstance(event, Started | Progress | Finished):
            return not self._own_notices
        return self._in_place and self.format == "pretty" and isinstance(event, Segment) and event.is_final is False

    def say(self, text: str) -> None:
        """Prints a line that is not an event."""
        self._print(text, self._err)

    def _print(self, line: str, file: TextIO) -> None:
        self.live.clear()
        print(line, file=file, flush=True)
        self.draw()

    def show_notice(self, notice: Lost | Resumed) -> None:
        """Reports a lost or resumed connection, and the consequence for the audio."""
        style = Style.of(self._err)
        if isinstance(notice, Resumed):
            self._trouble = ""
            text = f"reconnected after {notice.away_s:.1f} s, continuing at {notice.at_s:.2f} s"
            if notice.gap_s > 0:
                text += f"; {notice.gap_s:.1f} s of audio before that were lost"
            self.say(style.green(text))
            return
        self._open.clear()  # the server announces open utterances again
        self._interims.clear()
        self._lag_s = None
        text = explain(notice.error)
        if notice.unanswered_s > 0.05 and isinstance(notice.error, ClosedError):  # not repeated for later attempts
            text += f"; {notice.unanswered_s:.1f} s of audio were not answered and will be sent again"
        self.say(style.yellow(text))
        wait = f"trying again in {notice.wait_s:.1f} s (attempt {notice.attempt} of {notice.attempts})"
        self._trouble = f"no connection, {wait}"
        self.say(style.yellow(wait))

    def draw(self) -> None:
        if self.live.enabled:
            self.live.update(asyncio.get_running_loop().time(), self._view)

    def _view(self) -> View:
        stream = self.stream
        assert stream is not None
        channels = stream.channels
        says_who = not stream.check.covering
        return View(
            sent_s=stream.sent_s,
            duration_s=stream.duration_s,
            all_sent=stream.stop_sent,
            n_results=stream.check.n_results,
            n_errors=stream.check.n_errors,
            levels_dbfs=self._meter.levels_dbfs() if self._meter is not None else (),
            speaking=[channel in self._open for channel in range(channels)] if says_who else (),
            lag_s=self._lag_s,
            real_time_factor=self._real_time_factor,
            interim=next(reversed(self._interims.values()), None),
            trouble=self._trouble,
            channels=channels,
        )

    def finish(self) -> None:
        """Writes the subtitles, which are complete only at the end."""
        if self.format in ("srt", "vtt"):
            self._out.write(self._subtitles.srt() if self.format == "srt" else self._subtitles.vtt())
            self._out.flush()

    def picture(self, place: Output, title: str) -> None:
        """Draws the audio and its results. Raises OSError or ValueError when the file cannot be written."""
        assert self.stream is not None
        assert self._meter is not None
        self._meter.levels_dbfs()  # processes pending audio
        assert isinstance(self.stream.format, AudioFormat)
        picture = plot.Picture(title, self._meter.envelopes, self.stream.format.sample_rate)
        for channel in range(self.stream.channels):
            open_since = self._open.get(channel)
            spans = self._bands.get(channel, [])
            spans = [*spans, (open_since, self.stream.sent_s)] if open_since is not None else spans
            picture.bands(channel, spans, "speech")
            picture.labels(channel, self._labels.get(channel, []))
        picture.save(place)


async def show(
    stream: Stream,
    name: str,
    shown: Shown,
    err: TextIO,
    interrupts: Interrupts,
    microphone: Microphone | None = None,
    output: Output | None = None,
    plot_to: Output | None = None,
    is_endless: bool = False,
) -> int:
    """Iterates `stream`, shows its events, and returns the exit code.

    The first Ctrl-C or SIGTERM ends the audio, and the outstanding results still arrive; a second one cancels. For an
    `is_endless` source (a microphone, standard input), the first one is the normal end. Results are written even after
    a failure: `output` and `plot_to` keep their old contents only when no event arrived.
    """
    shown.begin(stream)
    notes_style = Style.of(shown.notes)
    print(notes_style.grey(_header(stream, name, notes_style)), file=shown.notes, flush=True)
    failure: Exception | None = None
    ticker = tasks.spawn_task(_tick(shown.draw), "voxgate-client-status", "client") if shown.live.enabled else None

    def stop(number: int) -> bool:
        if not stream.has_started:
            return False
        stream.stop()
        ended = "stopped listening" if microphone is not None else f"stopped after {stream.sent_s:.1f} s of audio"
        shown.say(f"\n{ended}, waiting for the results (Ctrl-C again quits at once)")
        return True

    with interrupts.stopping(stop):
        try:
            async with contextlib.aclosing(aiter(stream)) as events:
                async for event in events:
                    shown.take(event)
        except (ClientError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            failure = error
        except asyncio.CancelledError:
            if not interrupts.has_cancelled:
                raise
        finally:
            if ticker is not None:
                ticker.cancel()
            shown.live.clear()
            shown.live.enabled = False
    if interrupts.has_cancelled:
        print(f"\ninterrupted after {stream.sent_s:.1f} s of audio", file=err)
    has_result = bool(shown.n_events) or (failure is None and not interrupts.has_cancelled)
    if has_result:
        failure = _written(shown.finish, failure)
        if output is not None:
            failure = _written(output.commit, failure)
    if stream.total_s is not None and not interrupts.has_cancelled:
        print(notes_style.grey(_summary(stream)), file=shown.notes, flush=True)
    if microphone is not None and (lost := _lost_audio(microphone)):
        print(Style.of(err).yellow(lost), file=err, flush=True)
    if isinstance(failure, client.RejectedError) and shown.format != "jsonl":
        complain("the server did not accept the session", err)  # the error was shown as an event
    elif failure is not None:
        complain(failure, err)
        if isinstance(failure, OSError) and failure.filename == standard.NAME:
            standard.flush()  # its buffer is lost, which was reported
    good = failure is None and not stream.check.n_errors
    if plot_to is not None and stream.total_s is not None and has_result:
        try:
            shown.picture(plot_to, name)
        except (OSError, ValueError) as error:  # ValueError: a file type matplotlib does not know
            complain(f"cannot write {plot_to.path}: {explain(error)}", err)
            good = False
    if interrupts.number is not None and (interrupts.has_cancelled or (good and not is_endless)):
        return 128 + interrupts.number
    return EXIT_OK if good else EXIT_INCOMPLETE


def _written(write: Callable[[], None], failure: Exception | None) -> Exception | None:
    """The first failure: an earlier one, or that of `write`."""
    try:
        write()
    except BrokenPipeError:
        raise
    except OSError as error:
        return failure or error
    return failure


async def _tick(draw: Callable[[], Any]) -> None:
    while True:
        draw()
        await asyncio.sleep(0.1)


def _lost_audio(microphone: Microphone) -> str:
    parts = []
    if microphone.dropped_s > 0:
        parts.append(f"{microphone.dropped_s:.1f} s were dropped because the connection was too slow")
    if microphone.n_overflows:
        parts.append(f"the device lost audio {count(microphone.n_overflows, 'time')}")
    return "; ".join(parts)


def _header(stream: Stream, name: str, style: Style) -> str:
    format = stream.format
    if isinstance(format, ContainerFormat):
        kind = "a container" if format.container == AUTO else format.container
        return f"{printable(name)}: {kind}, sent as it is, to {public_url(stream.addr)}"
    length = "" if stream.duration_s is None else f"{stream.duration_s:.1f} s, "
    channels = "1 channel" if format.channels == 1 else f"{format.channels} channels"
    audio = f"{length}{format.sample_rate} Hz, {channels}, {format.pcm_encoding}"
    return f"{printable(name)}: {audio}, to {public_url(stream.addr)}"


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
