"""A session on a real scheduler, whose clock, loop and workers are the test."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from helpers.scheduler_bench import Bench
from helpers.wire import bursts, encode
from voxgate.config import load_config
from voxgate.errors import InferenceError, Overloaded
from voxgate.inference.engine.base import BatchLimits, Job, JobOutcome
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Error, Event, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start
from voxgate.session.routes import Route, open_route
from voxgate.vad.batcher import VadBatcher
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector

__all__ = ["BUFFERED_S", "DEADLINE_S", "RATE", "SETTINGS", "Room"]

RATE = 16_000
DEADLINE_S = 10.0
BUFFERED_S = 2.0
SETTINGS = {
    "inference.deadline_s": DEADLINE_S,
    "inference.per_stream": 2,
    "limits.buffered_audio_s": BUFFERED_S,
    "simple.max_chunk_s": 0.5,
    "simple.min_chunk_ms": 100,
    "vad.silence_duration_ms": 100,
    "vad.prefix_padding_ms": 0,
    "vad.interim_interval_ms": 100,
}
MAX_JOBS = 2
DETECTOR = load_detector("energy")
TALK = bursts(*[(0.2 + 0.6 * k, 0.6 + 0.6 * k - 0.1 * (k % 3)) for k in range(20)], length_s=12.5)


class Room(Bench):
    """A session without a socket, and a scheduler whose worker is the test. On the simple and the stateful route, the
    value of a sample is its position.
    """

    def __init__(
        self,
        route: Route,
        n_channels: int = 1,
        eager: bool = False,
        interim_results: bool = True,
        **overrides: Any,
    ) -> None:
        super().__init__(max_jobs=MAX_JOBS, deadline_s=DEADLINE_S)
        self.route = route
        self.n_channels = n_channels
        self.talk = TALK
        self.fed_frames = 0
        self.events: list[Event] = []
        self.n_speculative = 0
        self.asked: list[Job] = []
        """Every job that was offered to the scheduler, once each, in that order."""
        self.running: list[list[Job]] = []
        self.heard_later: list[Callable[[], None]] = []
        self.is_crowded = False
        """Others leave no room in the queue."""
        self.tally = Tally()
        config = load_config(environ={}, overrides={**SETTINGS, **overrides})
        service: Any = SimpleNamespace(
            config=config,
            scheduler=self.scheduler,
            vad_batcher=VadBatcher(self.heard_later.append),
            detector=DETECTOR,
            vad=VadConfig(**config.vad.tunables()),
            model=SimpleNamespace(sample_rate=RATE),
            tally=self.tally,
        )
        submit = self.scheduler.submit

        def offered(job: Job) -> None:
            if job.stream is self.runner and job not in self.asked:
                self.asked.append(job)
                self.n_speculative += job.speculative
            if self.is_crowded:
                raise Overloaded("no room")
            submit(job)

        self.scheduler.submit = offered  # type: ignore[method-assign]
        start = Start(AudioFormat(n_channels, RATE, 32, True), interim_results=interim_results, eager=eager)
        self.runner = open_route(route, service, start, self.events.append, lambda: None)

    def feed(self, n_frames: int, is_heard: bool = True) -> None:
        """`is_heard`: what the detector made of it is handed over in the same turn of the loop."""
        begin, end = self.fed_frames, self.fed_frames + n_frames
        self.fed_frames = end
        if self.route == "segmented":
            planes = np.stack([np.resize(np.roll(self.talk, 3000 * k), end)[begin:] for k in range(self.n_channels)])
        else:
            planes = np.stack([np.arange(begin, end) + (k << 20) for k in range(self.n_channels)]) / 2**23
        self.runner.feed(encode(planes, "f32"))
        if is_heard:
            self.hear()

    def hear(self) -> None:
        later, self.heard_later[:] = self.heard_later[:], []
        for hear in later:
            hear()

    def flush(self) -> None:
        self.runner.flush()

    def begin(self, max_items: int = 1) -> list[Job]:
        """A worker takes what there is, if there is anything."""
        depths = self.scheduler.depths()
        if depths["final"] + depths["speculative"] + depths["interim"] == 0:
            return []
        work = self.scheduler.take(BatchLimits(max_items))
        assert work is not None
        self.running.append(work.jobs)
        return work.jobs

    def end(self, index: int = 0, error: InferenceError | None = None, says_nothing: bool = False) -> None:
        """A worker returns with an answer that names what it heard."""
        jobs = self.running.pop(index)
        outcomes: list[JobOutcome] = []
        for job in jobs:
            if job.state is not None:
                job.state.opened = True
            if error is not None:
                outcomes.append(error)
            elif job.state is not None and says_nothing:
                outcomes.append(None)
            else:
                first = float(job.audio[0]) if len(job.audio) else None
                outcomes.append(Output.of({"first": first, "count": len(job.audio)}))
        self.scheduler.finish(jobs, outcomes)

    def settle(self) -> None:
        """Everything is over that can be."""
        self.is_crowded = False
        self.hear()
        for _ in range(1000):
            self.loop.turn()
            while self.running:
                self.end()
            if self.begin(8):
                continue
            if not self.loop.ready and not self.runner.pending:
                return
            self.wait(0.05)
        raise AssertionError(f"{self.runner.pending} replies are owed for ever")

    # The laws

    def replies(self, channel: int) -> list[Segment | Error]:
        """What stands for audio of a channel: its finals, and errors in their place."""
        return [
            event
            for event in self.events
            if event.channel == channel
            and (isinstance(event, Error) or (isinstance(event, Segment) and event.is_final is not False))
        ]

    def check_all_is_covered(self) -> None:
        runner = self.runner
        assert (runner.pending, runner.backlog_s, len(runner.calls)) == (0, 0.0, 0)
        assert runner.processed_s == runner.received_s == self.fed_frames / RATE
        assert runner.results + runner.errors == sum(isinstance(event, (Segment, Error)) for event in self.events)
        if self.route == "segmented":
            n_replies = sum(len(self.replies(channel)) for channel in range(self.n_channels))
            n_finals = sum(job.final for job in self.asked)
            assert n_finals - self.n_speculative <= n_replies <= n_finals
            assert n_replies == sum(isinstance(event, Inactive) for event in self.events)
            for channel in range(self.n_channels):
                ends = [event.time for event in self.events if isinstance(event, Inactive) and event.channel == channel]
                replies = self.replies(channel)
                assert len(replies) == len(ends)
                for reply, end_s in zip(replies, ends, strict=True):
                    assert isinstance(reply, Error) or reply.end_time == end_s
            return
        for channel in range(self.n_channels):
            calls = [job for job in self.asked if len(job.audio) and int(job.audio[0] * 2**23) >> 20 == channel]
            spans = []  # of the calls
            next_pos = 0
            for job in calls:
                assert int(job.audio[0] * 2**23) & 0xFFFFF == next_pos
                spans.append((next_pos, next_pos + len(job.audio)))
                next_pos += len(job.audio)
            assert next_pos == self.fed_frames
            replies = self.replies(channel)
            if self.route == "simple":
                assert len(replies) == len(spans)
                for reply, (start_pos, end_pos) in zip(replies, spans, strict=True):
                    if isinstance(reply, Segment):
                        assert (reply.start_time, reply.end_time) == (start_pos / RATE, end_pos / RATE)
            else:
                self.check_stateful(replies)

    def check_stateful(self, replies: list[Segment | Error]) -> None:
        """Segments follow each other without a gap but where an error stands, and what comes last reaches the end."""
        end_s: float | None = 0.0
        for reply in replies:
            if isinstance(reply, Error):
                end_s = None
                continue
            if end_s is not None:
                assert reply.start_time == end_s
            end_s = reply.end_time
        assert end_s in (None, self.fed_frames / RATE)
