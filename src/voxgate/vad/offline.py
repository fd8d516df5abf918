"""Voice-activity detection of whole recordings, without a server.

    >>> from voxgate import vad
    >>> vad.segments(samples, 44_100)                      # doctest: +SKIP
    [(0.1, 3.11), (3.3, 5.9)]

Several threads may call the functions at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from voxgate._native.event import SPEECH_CUT, SPEECH_END, VadEvent
from voxgate._native.session import VadSession
from voxgate.audio.decoder import StreamDecoder
from voxgate.protocol.formats import AudioFormat
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import DetectorFactory, load_detector

__all__ = ["segments", "segments_of_channels", "speech_probabilities"]

Audio = npt.NDArray[np.float32]


# A file is fed in slices of this length, so that the audio of all its segments is never in memory at once.
_SLICE_S: Final = 10


def speech_probabilities(samples: npt.ArrayLike, sample_rate: int, detector: str | DetectorFactory = "silero") -> Audio:
    """The probability of speech in each frame of the detector: float32, shape (frames,), 0..1.

    ``samples``: shape (n,), at ``sample_rate`` Hz (4000..192000), as a client would send them: floats, -1..1, or
    integers (int16, int32, uint8 with silence at 128). They are decoded and resampled as in a server with the default
    resampler: floats beyond -1..1 are clipped, and NaN and infinity become 0. The last partial frame is padded with
    zeros. Frame ``i`` starts at ``i * frame_samples / sample_rate`` seconds, with both values of the detector.
    ``detector``: a name for :func:`load_detector`, or its result. Raises ValueError for another shape or dtype, and the
    errors of load_detector. Releases the GIL.
    """
    factory = load_detector(detector) if isinstance(detector, str) else detector
    planes = np.concatenate(list(_received(factory, _mono(samples), sample_rate)), axis=1)
    rest = -planes.shape[1] % factory.frame_samples
    probabilities: Audio = factory.create(1).probabilities(np.pad(planes, ((0, 0), (0, rest))))[0]
    return probabilities


def segments(
    samples: npt.ArrayLike,
    sample_rate: int,
    config: VadConfig | None = None,
    detector: str | DetectorFactory = "silero",
) -> list[tuple[float, float]]:
    """The segments of speech: (start, end) in seconds from the start of the samples, in order, without overlaps, none
    empty.

    They are the segments of a server with these settings: with padding, and cut at ``max_segment_s``, where the next
    one begins. ``config``: None is ``VadConfig()``; ValueError when out of range. Everything else as in
    :func:`speech_probabilities`.
    """
    return segments_of_channels(_mono(samples), sample_rate, config, detector)[0]


def segments_of_channels(
    planes: npt.ArrayLike,
    sample_rate: int,
    config: VadConfig | None = None,
    detector: str | DetectorFactory = "silero",
) -> list[list[tuple[float, float]]]:
    """:func:`segments` of each channel of ``planes``, shape (channels, n), 1..256 channels, which the detector steps
    together.
    """
    array = np.asarray(planes)
    if array.ndim != 2 or array.shape[0] < 1:
        raise ValueError(f"planes must have shape (channels, samples), got {array.shape}")
    factory = load_detector(detector) if isinstance(detector, str) else detector
    rules = (config or VadConfig()).to_endpoint(factory.frame_samples, factory.sample_rate)
    received = _received(factory, array, sample_rate)
    session = VadSession(factory.create(len(array)), rules)
    found: list[list[tuple[float, float]]] = [[] for _ in array]
    # Resampling rounds the length up by as much as half a sample; no segment may end after the samples.
    duration_s = array.shape[1] / sample_rate
    for event in _events(session, received):
        if event.kind in (SPEECH_END, SPEECH_CUT) and event.end_pos > event.start_pos:
            start_s, end_s = event.start_pos / factory.sample_rate, event.end_pos / factory.sample_rate
            found[event.channel].append((start_s, min(end_s, duration_s)))
    return found


def _events(session: VadSession, received: Iterator[Audio]) -> Iterator[VadEvent]:
    for planes in received:
        yield from session.feed(planes)
    yield from session.finish()


# dtype of samples -> (bit_depth, is_float) on the wire.
_WIRE_FORMATS: Final[Mapping[str, tuple[int, bool]]] = {
    "uint8": (8, False),
    "int16": (16, False),
    "int32": (32, False),
    "float16": (32, True),
    "float32": (32, True),
    "float64": (64, True),
}


def _received(factory: DetectorFactory, planes: npt.NDArray[Any], sample_rate: int) -> Iterator[Audio]:
    """Planes, shape (channels, n), in slices: decoded and resampled as in a server.

    Raises ValueError for a dtype without a format on the wire, and for a rate or a number of channels out of range.
    """
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer) or sample_rate < 1:
        raise ValueError(f"sample_rate must be a positive integer (Hz), got {sample_rate!r}")
    if planes.dtype.name not in _WIRE_FORMATS:
        raise ValueError(f"samples must be one of {', '.join(_WIRE_FORMATS)}, got {planes.dtype}")
    bit_depth, is_float = _WIRE_FORMATS[planes.dtype.name]
    decoder = StreamDecoder(AudioFormat(len(planes), int(sample_rate), bit_depth, is_float), factory.sample_rate)
    wire_type = f"<{'f' if is_float else 'i' if bit_depth > 8 else 'u'}{bit_depth // 8}"
    slice_samples = _SLICE_S * sample_rate

    def slices() -> Iterator[Audio]:
        for begin in range(0, planes.shape[1], slice_samples):
            yield decoder.push(planes[:, begin : begin + slice_samples].T.astype(wire_type).tobytes())
        yield decoder.finish()

    return slices()


def _mono(samples: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(samples)
    if array.ndim != 1:
        raise ValueError(f"samples must have shape (n,), one channel, got {array.shape}")
    return array[np.newaxis]
