"""The audio of a load run: resampled, encoded, cut and framed once, then sent by every stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxgate.audio.containers.encoding import ENCODERS, encode_live
from voxgate.audio.soxr import resample
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.json_codec import encode_request
from voxgate.protocol.requests import Start, Stop

from .frames import BINARY, TEXT, client_frame

__all__ = ["BARE", "ENCODERS", "ENCODINGS", "WEBSOCKET", "Framing", "Material", "encode_material", "make_material"]

ENCODINGS = {"s16": (16, False), "f32": (32, True)}


class Framing(NamedTuple):
    """How a wire frames what its streams share."""

    audio: Callable[[bytes], bytes]
    request: Callable[[str], bytes | str]


WEBSOCKET: Final = Framing(lambda data: client_frame(BINARY, data), lambda text: client_frame(TEXT, text.encode()))
BARE: Final = Framing(lambda data: data, lambda text: text)
"""Of a wire that frames each message itself."""


@dataclass(frozen=True)
class Material:
    """A recording as frames of `chunk_ms` each; streams play it in a loop, starting at different frames."""

    frames: tuple[bytes, ...]
    """As `framing` makes them."""
    chunk_ms: int
    format: AudioFormat
    """Of the frames, or of the audio that was encoded."""
    container: str | None = None
    """In which streams send it; None: as PCM."""
    framing: Framing = WEBSOCKET
    encoded: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)
    """The frames of a whole stream in the container, by its offset: it can neither begin in the middle nor loop."""

    @property
    def duration_s(self) -> float:
        return len(self.frames) * self.chunk_ms / 1000

    @property
    def stop_frame(self) -> bytes | str:
        return self.framing.request(encode_request(Stop(disconnect=True)))

    def start_frame(self, interim_results: bool, notices: bool, token: str | None) -> bytes | str:
        format = self.format if self.container is None else ContainerFormat(self.container)
        start = Start(format, interim_results=interim_results, notices=notices, token=token)
        return self.framing.request(encode_request(start))

    def offset(self, number: int, n_offsets: int) -> int:
        """The first frame of the streams of the `number`-th of `n_offsets` kinds."""
        return number * len(self.frames) // n_offsets

    def played_from(self, offset: int) -> tuple[tuple[bytes, ...], int]:
        """The frames that a stream of this offset sends, in a loop, and the first of them."""
        return (self.frames, offset) if self.container is None else (self.encoded[offset], 0)


def make_material(
    planes: NDArray[np.float32],
    from_rate: int,
    rate: int,
    channels: int,
    encoding: str,
    chunk_ms: int,
    framing: Framing = WEBSOCKET,
) -> Material:
    """The recording `planes`, float32 (channels, samples) at `from_rate` Hz, as messages of `chunk_ms` in the
    requested format.

    Additional channels repeat those of the recording, rotated by different amounts, so that they do not speak in
    unison. Silence fills the last message. Raises ValueError for an empty recording, and for a rate at which `chunk_ms`
    is not a whole number of samples.
    """
    if planes.size == 0:
        raise ValueError("the recording is empty")
    if rate * chunk_ms % 1000:
        raise ValueError(f"{chunk_ms} ms is not a whole number of samples at {rate} Hz")
    audio = resample(planes, from_rate, rate)
    have, n_samples = audio.shape
    rounds = -(-channels // have)
    audio = np.stack([np.roll(audio[i % have], (i // have) * n_samples // rounds) for i in range(channels)])
    chunk = rate * chunk_ms // 1000
    audio = np.pad(audio, [(0, 0), (0, -n_samples % chunk)])
    bit_depth, is_float = ENCODINGS[encoding]
    clipped = np.clip(np.rint(audio.T * 32_768), -32_768, 32_767)
    samples = audio.T.astype("<f4") if is_float else clipped.astype("<i2")
    pieces = (samples[start : start + chunk].tobytes() for start in range(0, len(samples), chunk))
    return Material(
        tuple(map(framing.audio, pieces)),
        chunk_ms,
        AudioFormat(channels, rate, bit_depth, is_float),
        framing=framing,
    )


def encode_material(
    planes: NDArray[np.float32],
    from_rate: int,
    container: str,
    chunk_ms: int,
    n_messages: int,
    n_offsets: int,
    framing: Framing = WEBSOCKET,
) -> Material:
    """The recording `planes`, float32 (channels, samples) at `from_rate` Hz, as a live recorder sends it: encoded in
    `container`, one of ENCODERS, a stream of `n_messages` for each of the offsets.

    Raises ValueError for an empty recording and for a `chunk_ms` that is not a whole number of samples, and ImportError
    without the extra `media`.
    """
    rate = ENCODERS[container].sample_rate or from_rate
    plain = make_material(planes, from_rate, rate, len(planes), "f32", chunk_ms)
    audio = resample(planes, from_rate, rate)
    chunk = rate * chunk_ms // 1000
    audio = np.pad(audio, [(0, 0), (0, -audio.shape[1] % chunk)])
    encoded = {}
    for offset in {plain.offset(number, n_offsets) for number in range(n_offsets)}:
        looped = np.resize(np.roll(audio, -offset * chunk, axis=1).T, (n_messages * chunk, len(audio))).T
        encoded[offset] = tuple(
            framing.audio(piece) for piece in encode_live(np.ascontiguousarray(looped), rate, container, chunk_ms)
        )
    return Material(plain.frames, chunk_ms, plain.format, container, framing, encoded)
