"""Containers for tests, encoded when they are needed, and what a decoder makes of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import numpy as np

from voxgate.audio.containers import Decoders, MediaError, MediaLimits, MediaStream
from voxgate.audio.containers.encoding import encode, encode_live
from voxgate.audio.files.read import read_audio
from voxgate.protocol.formats import AudioFormat
from voxgate.recordings import path

SPEECH, RATE = read_audio(path("demo"))


@functools.cache
def speech(container: str, seconds: float = 2.0) -> bytes:
    """The beginning of the bundled speech as a file; of MP4, with its index at the end."""
    return encode(SPEECH[:, : round(seconds * RATE)], RATE, container)


@functools.cache
def live_speech(container: str, seconds: float = 2.0) -> bytes:
    """The same as a live recorder writes it."""
    return b"".join(encode_live(SPEECH[:, : round(seconds * RATE)], RATE, container, 100))


def samples(pcm: bytes, format: AudioFormat) -> np.ndarray:
    """float64 (channels, frames)."""
    flat = np.frombuffer(pcm, "<f4" if format.is_float else "<i2").astype(np.float64)
    return (flat if format.is_float else flat / 32_768).reshape(-1, format.channels).T


def lag_samples(heard: np.ndarray, said: np.ndarray) -> int:
    """By how many samples `heard` is later than `said`, both of one channel."""
    n = max(len(heard), len(said))
    product = np.fft.irfft(np.fft.rfft(heard, 2 * n) * np.conj(np.fft.rfft(said, 2 * n)))
    at = int(np.argmax(product))
    return at if at < n else at - 2 * n


async def decoded(stream: MediaStream, parts: Iterable[bytes]) -> tuple[bytes, MediaError | None]:
    """All PCM of a stream, and the error that ended it."""
    pcm = bytearray()

    async def take(pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            pcm.extend(piece)

    try:
        for part in parts:
            await take(stream.push(part))
        await take(stream.finish())
    except MediaError as error:
        return bytes(pcm), error
    finally:
        stream.close()
    return bytes(pcm), None


def decode_file(data: bytes, container: str, sample_rate: int | None = None) -> tuple[bytes, AudioFormat]:
    """The PCM of a good container. `sample_rate`: of the model, in Hz."""

    async def main() -> tuple[bytes, AudioFormat]:
        decoders = Decoders(MediaLimits(processes=1))
        try:
            stream = decoders.open(container, sample_rate)
            pcm, error = await decoded(stream, [data])
        finally:
            await decoders.close()
        assert error is None
        assert stream.format is not None
        return pcm, stream.format

    return asyncio.run(main())


async def decode_all(
    data: bytes, decoders: Decoders, container: str = "auto", cut_bytes: int = 10_000
) -> tuple[bytes, AudioFormat | None, MediaError | None]:
    """PCM, its format, and the error that ended it."""
    stream = decoders.open(container)
    pcm, error = await decoded(stream, (data[at : at + cut_bytes] for at in range(0, len(data), cut_bytes)))
    return pcm, stream.format, error


def with_decoders(**limits: Any) -> Callable[[Callable[[Decoders], Awaitable[None]]], Callable[[], None]]:
    """Runs an async test with decoders, which are closed afterwards."""

    def wrap(test: Callable[[Decoders], Awaitable[None]]) -> Callable[[], None]:
        @functools.wraps(test, assigned=("__name__", "__doc__", "__module__"), updated=())
        def run() -> None:
            async def main() -> None:
                decoders = Decoders(MediaLimits(**limits))
                try:
                    await test(decoders)
                finally:
                    await decoders.close()

            asyncio.run(main())

        del run.__wrapped__  # type: ignore[attr-defined]  # pytest would look for a fixture `decoders`
        return run

    return wrap
