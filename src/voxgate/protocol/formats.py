"""Audio formats: what the bytes of a stream are, and which of them are supported."""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from voxgate.errors import InvalidStart, shown

__all__ = [
    "AUTO",
    "COMPANDED",
    "CONTAINERS",
    "MAX_RATE",
    "MIN_RATE",
    "PCM_ENCODINGS",
    "AudioFormat",
    "ContainerFormat",
    "Format",
    "MediaFormat",
    "check_container",
    "check_format",
]

#: The sample rates that Voxgate converts, in Hz, both included; those of `ext/voxgate/_native/types.pxd`.
MIN_RATE: Final = 4_000
MAX_RATE: Final = 192_000

#: Linear PCM: the name of each form of a sample, by ``bit_depth`` and ``is_float``.
PCM_ENCODINGS: Final = {
    (8, False): "u8",
    (16, False): "s16",
    (24, False): "s24",
    (32, False): "s32",
    (32, True): "f32",
    (64, True): "f64",
}


#: The values of ``encoding``; both have 8 bits and no floats.
COMPANDED: Final = ("mulaw", "alaw")


#: The containers that a client may name.
CONTAINERS: Final = ("webm", "ogg", "wav", "flac", "mp3", "mp4", "aac")

#: In place of a container: the server tells by the first bytes.
AUTO: Final = "auto"


_SAMPLE_BYTES: Final = {"u8": 1, "s16": 2, "s24": 3, "s32": 4, "f32": 4, "f64": 8, "mulaw": 1, "alaw": 1}


_SUPPORTED: Final = (
    "supported (bit_depth/is_float): "
    + ", ".join(f"{bits}/{'true' if is_float else 'false'}" for bits, is_float in PCM_ENCODINGS)
    + ', and 8/false with encoding "mulaw" or "alaw"'
)


class AudioFormat(Struct, frozen=True, gc=False, omit_defaults=True):
    """The format of a session's binary messages: interleaved little-endian samples.

    ``sample_rate`` in Hz. ``encoding`` is None for linear PCM, or "mulaw" / "alaw" (both with 8 bits, not float).
    A parsed format has the right types but any values: :func:`check_format` says whether it is supported.
    """

    channels: int
    sample_rate: int
    bit_depth: int
    is_float: bool
    encoding: str | None = None

    @property
    def pcm_encoding(self) -> str:
        """One of u8, s16, s24, s32, f32, f64, mulaw, alaw. Raises InvalidStart for a combination without a name."""
        if self.encoding is None:
            name = PCM_ENCODINGS.get((self.bit_depth, self.is_float))
            if name is None:
                raise InvalidStart(
                    f"format.bit_depth {shown(self.bit_depth)} with is_float {shown(self.is_float)} is not supported; "
                    + _SUPPORTED
                )
            return name
        if self.encoding not in COMPANDED:
            raise InvalidStart(f'format.encoding must be "mulaw", "alaw" or null, got {shown(self.encoding)}')
        if self.bit_depth != 8:
            raise InvalidStart(
                f'format.bit_depth must be 8 with encoding "{self.encoding}", got {shown(self.bit_depth)}'
            )
        if self.is_float:
            raise InvalidStart(f'format.is_float must be false with encoding "{self.encoding}", got true')
        return self.encoding

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel. Raises InvalidStart like :attr:`pcm_encoding`."""
        return _SAMPLE_BYTES[self.pcm_encoding]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel. Raises InvalidStart like :attr:`pcm_encoding`."""
        return self.channels * self.sample_bytes


class ContainerFormat(Struct, frozen=True, gc=False, omit_defaults=True):
    """The format of a session's binary messages: a container, from its first byte on. The stream itself says the rate
    and the channels.

    A parsed format may name anything: :func:`check_container` says whether it is supported.
    """

    container: str
    mono: bool = False
    """The channels are mixed to one."""


Format: TypeAlias = AudioFormat | ContainerFormat
"""Of a session's binary messages."""


class MediaFormat(Struct, frozen=True, gc=False):
    """The format of the audio in a container, as the server found it. ``sample_rate`` in Hz."""

    container: str
    channels: int
    sample_rate: int


def check_container(format: ContainerFormat) -> None:
    """Raise InvalidStart naming the field, its value and what is allowed, unless the container is a known one."""
    if format.container not in (AUTO, *CONTAINERS):
        allowed = ", ".join(f'"{name}"' for name in (AUTO, *CONTAINERS))
        raise InvalidStart(f"format.container must be one of {allowed}, got {shown(format.container)}")


def check_format(
    format: AudioFormat, max_channels: int = 8, min_sample_rate: int = MIN_RATE, max_sample_rate: int = MAX_RATE
) -> None:
    """Raise InvalidStart naming the field, its value and what is allowed, unless the server can decode `format`.

    Rates in Hz, both ends included.
    """
    if not 1 <= format.channels <= max_channels:
        raise InvalidStart(f"format.channels must be 1..{max_channels}, got {shown(format.channels)}")
    if not min_sample_rate <= format.sample_rate <= max_sample_rate:
        raise InvalidStart(
            f"format.sample_rate must be {min_sample_rate}..{max_sample_rate} Hz, got {shown(format.sample_rate)}"
        )
    _ = format.pcm_encoding
