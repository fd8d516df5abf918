"""Decodes Opus by libopus, a library of the system, or the one that comes with PyAV.

Calls keep the GIL: a packet of 20 ms takes about 20 us, while a release would hand the event loop's thread over to a
model that holds the GIL, once a packet. See docs/decisions/0035-opus-by-libopus.md.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

from voxgate.audio.containers.opus_head import OpusHead

__all__ = ["LibopusDecoder", "load_libopus"]

_NAMES: Final = ("libopus.so.0", "libopus.0.dylib", "opus.dll", "libopus-0.dll")
_MOST_S: Final = 0.12
"""Of a packet."""


@cache
def load_libopus() -> ctypes.PyDLL | None:
    """The library, or None: there is none. Looked for once a process."""
    for path in [*_NAMES, *_bundled()]:
        try:
            library = ctypes.PyDLL(path)
        except OSError:
            continue
        if _declare(library):
            return library
    return None


def _bundled() -> list[str]:
    """That of PyAV's wheel, which FFmpeg is linked with."""
    try:
        spec = importlib.util.find_spec("av")
    except (ImportError, ValueError):
        return []
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent
    folders = (package.parent / "av.libs", package / ".dylibs")
    return sorted(str(path) for folder in folders for path in folder.glob("libopus*"))


def _declare(library: ctypes.PyDLL) -> bool:
    i, p = ctypes.c_int, ctypes.c_void_p
    arguments: dict[str, tuple[list[Any], Any]] = {
        "opus_decoder_get_size": ([i], i),
        "opus_decoder_init": ([p, ctypes.c_int32, i], i),
        "opus_decode_float": ([p, ctypes.c_char_p, ctypes.c_int32, p, i, i], i),
        "opus_multistream_decoder_get_size": ([i, i], ctypes.c_int32),
        "opus_multistream_decoder_init": ([p, ctypes.c_int32, i, i, i, ctypes.c_char_p], i),
        "opus_multistream_decode_float": ([p, ctypes.c_char_p, ctypes.c_int32, p, i, i], i),
    }
    for name, (types, result) in arguments.items():
        function = getattr(library, name, None)
        if function is None:
            return False
        function.argtypes, function.restype = types, result
    return True


class LibopusDecoder:
    """Decodes the packets of one stream to interleaved float32 at ``rate`` Hz: 8000, 12000, 16000, 24000 or 48000.

    Threads: one caller at a time.
    """

    conceals = True

    def __init__(self, library: ctypes.PyDLL, head: OpusHead, rate: int) -> None:
        self.rate = rate
        self._frame_bytes = 4 * head.channels
        self._most_frames = int(_MOST_S * rate)
        self._out = ctypes.create_string_buffer(self._most_frames * self._frame_bytes)
        # The state lies in memory of Python's, which frees it.
        if head.is_simple:
            self._state = ctypes.create_string_buffer(library.opus_decoder_get_size(head.channels))
            code = library.opus_decoder_init(self._state, rate, head.channels)
            self._decode = library.opus_decode_float
        else:
            size = library.opus_multistream_decoder_get_size(head.n_streams, head.n_coupled)
            self._state = ctypes.create_string_buffer(max(1, size))
            code = library.opus_multistream_decoder_init(
                self._state, rate, head.channels, head.n_streams, head.n_coupled, bytes(head.wav_mapping)
            )
            self._decode = library.opus_multistream_decode_float
        if code != 0:
            raise ValueError(f"libopus refuses {head} at {rate} Hz: error {code}")

    def decode(self, packet: bytes) -> bytes | None:
        """The samples of a packet; None: it is damaged."""
        n_frames = self._decode(self._state, packet, len(packet), self._out, self._most_frames, 0)
        return ctypes.string_at(self._out, n_frames * self._frame_bytes) if n_frames > 0 else None

    def conceal(self, n_frames: int) -> bytes:
        """What probably was in a gap of `n_frames`, a multiple of 2.5 ms and at most 120 ms."""
        n_frames = self._decode(self._state, None, 0, self._out, n_frames, 0)
        return ctypes.string_at(self._out, max(0, n_frames) * self._frame_bytes)
