"""The way of live audio: bytes decoded, resampled and heard with others, as by hand and alone."""

from __future__ import annotations

from functools import cache

import numpy as np

from fuzz.source import Source
from voxgate._native.endpoint import EndpointConfig
from voxgate._native.event import VadEvent
from voxgate._native.intake import DECLINED, WAITING, Intake
from voxgate._native.pcm import PcmDecoder
from voxgate._native.resample import Resampler
from voxgate._native.session import VadSession
from voxgate._native.session_batch import step_sessions
from voxgate._native.silero import SileroDetector, SileroNetwork
from voxgate.vad.weights import default_path, load_weights

MAX_BYTES = 60_000
FRAME = 512


@cache
def network() -> SileroNetwork:
    return SileroNetwork(load_weights(default_path()))


def plain(events: list[VadEvent]) -> list[tuple[int, int, int, int, bytes | None]]:
    return [(e.kind, e.channel, e.start_pos, e.end_pos, None if e.audio is None else e.audio.tobytes()) for e in events]


class Stream:
    def __init__(self, source: Source) -> None:
        self.encoding = source.pick(("s16", "u8", "f32", "s24"))
        self.channels = source.integer(1, 5)
        self.rate = source.pick((8000, 16_000, 44_100, 48_000))
        threshold = source.pick((0.0, 0.3, 0.9))
        self.rules = EndpointConfig(
            FRAME,
            threshold=threshold,
            negative_threshold=threshold / 2,
            prefix_samples=source.size(3000),
            suffix_samples=source.size(1000),
            silence_samples=source.integer(1, 3000),
            min_speech_samples=source.size(2000),
            max_segment_samples=source.integer(4000, 20_000),
        )
        self.decoder, self.resampler, self.session = self.parts()
        self.intake = Intake(self.decoder, self.resampler, self.session)
        self.intake.due_frames = source.pick((1 << 60, 0, 3000))
        self.data = b""
        self.events: list[VadEvent] = []

    def parts(self) -> tuple[PcmDecoder, Resampler | None, VadSession]:
        resampler = None if self.rate == 16_000 else Resampler(self.rate, 16_000, self.channels)
        session = VadSession(SileroDetector(network(), self.channels), self.rules)
        return PcmDecoder(self.encoding, self.channels), resampler, session

    def take(self, piece: bytes) -> bool:
        self.data += piece
        taken = self.intake.take(piece)
        if taken != DECLINED:
            return taken == WAITING
        planes = self.decoder.push(piece)
        return self.session.take(planes if self.resampler is None else self.resampler.push(planes))


def streams_are_heard(source: Source) -> None:
    streams = [Stream(source) for _ in range(source.integer(1, 6))]
    of = {stream.session: stream for stream in streams}
    waiting: dict[VadSession, None] = {}
    n_bytes = 0
    while source.left and n_bytes < MAX_BYTES:
        stream, what = source.pick(streams), source.integer(0, 9)
        if what == 0:
            heard, waiting = list(waiting), {}
            for session, events in step_sessions(heard):
                assert isinstance(events, list)
                of[session].events += events
        elif what == 1:
            stream.events += stream.session.feed(np.empty((stream.channels, 0), np.float32))
        else:
            piece = np.random.default_rng(source.integer(0, 255)).bytes(source.size(20_000))
            n_bytes += len(piece)
            if stream.take(piece):
                waiting[stream.session] = None
    for session, events in step_sessions(list(waiting)):
        assert isinstance(events, list)
        of[session].events += events
    for stream in streams:
        decoder, resampler, session = stream.parts()
        planes = decoder.push(stream.data)
        expected = session.feed(planes if resampler is None else resampler.push(planes)) + session.finish()
        assert plain(stream.events + stream.session.finish()) == plain(expected)
        assert stream.decoder.received_frames == decoder.received_frames


def fuzz(data: bytes) -> None:
    streams_are_heard(Source(data))


SEEDS = [
    bytes([3] + [0, 1, 1, 0, 9, 9, 1, 9, 9, 1, 3, 3, 1, 9, 9, 1, 50, 50, 0] * 4 + [5, 7, 7, 200, 90, 1] * 20),
    bytes([0, 2, 0, 3]) + bytes(range(7, 200)),
]
