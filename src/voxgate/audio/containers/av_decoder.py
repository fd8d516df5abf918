"""Decodes one container with PyAV, in a decoder process: a file object in, pieces of PCM out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

from voxgate.audio.containers.base import PIECE_S, BrokenMedia, MediaLimit, UnsupportedMedia

__all__ = ["AUDIO_CODECS", "DEMUXERS", "Header", "Source", "decode"]

#: FFmpeg's demuxer of each container. No other is ever used, so that no file is taken for a playlist.
DEMUXERS: Final = {
    **{"mp3": "mp3", "mp4": "mov", "aac": "aac"},
    **{"webm": "matroska", "ogg": "ogg", "wav": "wav", "flac": "flac"},
}

#: FFmpeg's decoders that may run. Video is never decoded.
AUDIO_CODECS: Final = frozenset(
    {
        *("mp3float", "mp3", "mp2float", "mp2", "mp1float", "mp1"),
        *("aac", "aac_fixed", "aac_latm", "alac", "ac3", "eac3"),
        *("opus", "libopus", "vorbis", "libvorbis", "flac", "speex", "libspeex"),
        *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb"),
        *("adpcm_ms", "adpcm_ima_wav", "gsm", "gsm_ms"),
        *("pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
        *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw"),
    }
)

_PROBE_BYTES: Final = 65_536
"""How far FFmpeg looks for the properties of the tracks: those of live audio must not wait for seconds of it."""

_BUFFER_BYTES: Final = 262_144
"""The most that FFmpeg reads at once."""

_BAD_PACKETS: Final = 16
"""So many packets in a row that cannot be decoded end the stream; fewer become silence of their length."""

_OPTIONS: Final = {
    "protocol_whitelist": "none",  # a container never opens a second file or an address
    "codec_whitelist": ",".join(sorted(AUDIO_CODECS)),
    "probesize": str(_PROBE_BYTES),
    "analyzeduration": "1",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}
_PRIVATE_TO_MOV: Final = ("enable_drefs", "use_absolute_path")


class Header(NamedTuple):
    """The format of the PCM: interleaved s16, or f32."""

    channels: int
    sample_rate: int
    is_float: bool


class Source(Protocol):
    """A file object that blocks until there are bytes; seekable when it has `seek` and `tell`."""

    def read(self, n_bytes: int, /) -> bytes: ...


def decode(source: Source, container: str, max_tracks: int) -> Iterator[Header | bytes]:
    """Yields the header once, then whole frames of PCM, each piece at most PIECE_S over all channels.

    `container`: a name of DEMUXERS. Raises MediaError, after all PCM before it, and what `source` raises.
    """
    import av

    options = {name: value for name, value in _OPTIONS.items() if container == "mp4" or name not in _PRIVATE_TO_MOV}
    # PyAV 18 fails at a tag that is not UTF-8 unless told otherwise; PyAV 19 does not, and has no such parameter.
    lenient: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        with av.open(
            source,
            "r",
            DEMUXERS[container],
            container_options=options,
            buffer_size=_BUFFER_BYTES,
            io_open=_refuse,
            **lenient,
        ) as opened:
            yield from _decode(opened, max_tracks)
    except av.error.FFmpegError as error:
        raise BrokenMedia(f"the decoder says: {error.strerror or type(error).__name__}") from None


def _refuse(url: str, flags: int, options: Any) -> Any:
    raise PermissionError("a container may not refer to other files")


def _decode(opened: Any, max_tracks: int) -> Iterator[Header | bytes]:
    import av

    if len(opened.streams) > max_tracks:
        raise MediaLimit(f"{len(opened.streams)} tracks; at most {max_tracks} are read (media.tracks)")
    if not opened.streams.audio:
        raise UnsupportedMedia("it has no audio track")
    track = opened.streams.audio[0]
    context = track.codec_context
    if context is None or context.codec.name not in AUDIO_CODECS:
        name = "an unknown codec" if context is None else f"the codec {context.codec.name}"
        raise UnsupportedMedia(f"its audio uses {name}, which is not decoded")
    context.thread_count = 1
    form = _Form()
    n_bad = 0
    for packet in opened.demux(track):
        if packet.is_corrupt:  # the stream ended inside of it
            continue
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            n_bad += 1
            if n_bad > _BAD_PACKETS:
                raise BrokenMedia(f"{n_bad} packets in a row cannot be decoded: {error.strerror}") from None
            if packet.duration and packet.time_base is not None:
                yield from form.silence(float(packet.duration * packet.time_base))
            continue
        n_bad = 0
        for frame in frames:
            yield from form.pcm(frame)
    yield from form.rest()
    if form.header is None:
        raise BrokenMedia("it has no audio")


class _Form:
    """Brings the frames of a decoder into one form of PCM, that of the first."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self._resampler: Any = None
        self._setup: tuple[Any, ...] = ()
        self._layout = ""
        self._frame_bytes = 0

    def pcm(self, frame: Any) -> Iterator[Header | bytes]:
        import av

        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self.header is None:
            is_float = frame.format.name not in ("s16", "s16p", "u8", "u8p")
            self.header = Header(frame.layout.nb_channels, frame.sample_rate, is_float)
            self._layout = frame.layout.name
            self._frame_bytes = self.header.channels * (4 if is_float else 2)
            yield self.header
        if setup != self._setup:
            yield from self.rest()
            self._setup = setup
            name = "flt" if self.header.is_float else "s16"
            self._resampler = av.AudioResampler(name, self._layout, self.header.sample_rate)
        frame.pts = None  # positions follow from the samples; a gap in the times must not become audio
        for one in self._resampler.resample(frame):
            yield from self._pieces(one)

    def rest(self) -> Iterator[bytes]:
        """The samples that a conversion of the rate still holds."""
        if self._resampler is not None and not self._resampler.is_passthrough:
            for one in self._resampler.resample(None):
                yield from self._pieces(one)

    def silence(self, duration_s: float) -> Iterator[bytes]:
        if self.header is not None:
            n_frames = round(min(duration_s, PIECE_S / self.header.channels) * self.header.sample_rate)
            yield bytes(n_frames * self._frame_bytes)

    def _pieces(self, frame: Any) -> Iterator[bytes]:
        assert self.header is not None
        data = bytes(memoryview(frame.planes[0])[: frame.samples * self._frame_bytes])
        step = int(PIECE_S * self.header.sample_rate / self.header.channels) * self._frame_bytes
        for start in range(0, len(data), step):
            yield data[start : start + step]
