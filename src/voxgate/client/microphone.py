"""A microphone as a source, through PortAudio (the package `sounddevice`)."""

from __future__ import annotations

import importlib
import queue
from collections.abc import Iterator
from typing import Any

from voxgate.protocol.formats import AudioFormat

from .errors import SourceError

__all__ = ["Microphone"]

_BLOCK_S = 0.02
_QUEUE_S = 30.0


def _portaudio() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ModuleNotFoundError:
        raise SourceError(
            "microphone input needs the package sounddevice, which is not installed: pip install 'voxgate[microphone]'"
        ) from None
    except OSError as error:
        raise SourceError(
            f"microphone input needs the library PortAudio ({error}): install it with the system's packages, for"
            " example apt install libportaudio2, or dnf install portaudio"
        ) from None


class Microphone:
    """The audio of a microphone in s16, from the start of the iteration until `stop`.

    `device`: a number or a part of a name as PortAudio lists them; None is the system's default. `sample_rate`: in Hz,
    None for the device's own. At most `queue_s` seconds of audio are buffered; further audio is dropped, counted and
    replaced by silence, so that times stay true. `backend` is for tests: a stand-in for the module sounddevice.

    Raises SourceError when PortAudio is missing, there is no such device, the device does not support the format, or it
    was disconnected.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        queue_s: float = _QUEUE_S,
        backend: Any = None,
    ) -> None:
        self._backend = _portaudio() if backend is None else backend
        info = self._find(device)
        self.name = str(info["name"])
        rate = int(info["default_samplerate"] if sample_rate is None else sample_rate)
        self.format = AudioFormat(channels, rate, 16, False)
        self.dropped_s = 0.0
        """Seconds of recorded audio that were dropped because the buffer was full."""
        self.n_overflows = 0
        """The number of times that the device lost audio. The system does not report how much."""
        self._device = info["index"]
        self._queue_blocks = max(1, round(queue_s / _BLOCK_S))
        self._missed_frames = 0
        self._stopped = False
        self._stream: Any = None
        self._blocks: queue.SimpleQueue[bytes | int | None] = queue.SimpleQueue()  # an int is a number of missed frames
        try:
            self._backend.check_input_settings(self._device, channels, "int16", None, rate)
        except self._failures as error:
            raise SourceError(f"{self.name} does not support {channels} channel(s) at {rate} Hz: {error}") from None

    @property
    def _failures(self) -> tuple[type[Exception], ...]:
        return (ValueError, self._backend.PortAudioError)

    def _find(self, device: int | str | None) -> Any:
        try:
            return self._backend.query_devices(device, "input")
        except self._failures as error:
            wanted = "no default microphone" if device is None else f"no microphone {device!r}"
            raise SourceError(f"{wanted} ({error}){self._listing()}") from None

    def _listing(self) -> str:
        try:
            devices = [one for one in self._backend.query_devices() if one["max_input_channels"] > 0]
        except self._failures:
            devices = []
        if not devices:
            return "; this system has no recording device"
        return "; available devices:" + "".join(f"\n  {one['index']}: {one['name']}" for one in devices)

    def stop(self) -> None:
        """Ends the recording. The iteration returns the audio recorded so far and then ends. Any thread may call it."""
        self._stopped = True
        self._blocks.put(None)

    def close(self) -> None:
        """Closes the device immediately, even during the iteration.

        A process that exits while the device is open may hang: PortAudio waits for a callback that can no longer run.
        """
        self.stop()
        if self._stream is not None:
            self._stream.abort()
            self._stream.close()

    def __iter__(self) -> Iterator[bytes]:
        rate, channels = self.format.sample_rate, self.format.channels
        n_frames = max(1, round(rate * _BLOCK_S))
        try:
            stream = self._backend.RawInputStream(
                samplerate=rate,
                blocksize=n_frames,
                device=self._device,
                channels=channels,
                dtype="int16",
                callback=self._receive,
                finished_callback=lambda: self._blocks.put(None),
            )
        except self._failures as error:
            raise SourceError(f"cannot open {self.name}: {error}") from None
        self._stream = stream
        with stream:
            while (block := self._blocks.get()) is not None:
                if isinstance(block, bytes):
                    yield block
                    continue
                for start in range(0, block, n_frames):
                    yield bytes(min(n_frames, block - start) * self.format.frame_bytes)
        if not self._stopped:
            raise SourceError(f"{self.name} was disconnected: it delivers no more audio")

    def _receive(self, data: Any, frames: int, when: Any, status: Any) -> None:
        """PortAudio calls it in its own thread, which must never wait."""
        self.n_overflows += bool(status.input_overflow)
        if self._stopped:
            return
        if self._blocks.qsize() >= self._queue_blocks:
            self._missed_frames += frames
            self.dropped_s += frames / self.format.sample_rate
            return
        if self._missed_frames:
            self._blocks.put(self._missed_frames)
            self._missed_frames = 0
        self._blocks.put(bytes(data))
