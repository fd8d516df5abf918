"""Voice-activity detection without a server, and what a server needs of it: settings, detectors, one-shot functions.

    >>> from voxgate import vad
    >>> vad.segments(samples, 44_100)                      # doctest: +SKIP
    [(0.1, 3.11), (3.3, 5.9)]

Detection runs at the detector's rate (16 kHz for the built-in ones); so do the positions, and the audio, of a session's
events. A model that wants another rate gets the audio of a segment resampled by the engine that runs it.

Threads: the functions may be called from any, at the same time; what :func:`load_detector` returns is shared, a
detector that it makes has one caller at a time.
"""

from __future__ import annotations

import copy
import importlib
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from voxgate._native.detector import CallableDetector, Detector
from voxgate._native.endpoint import EndpointConfig
from voxgate._native.energy import EnergyDetector
from voxgate._native.session import SPEECH_CUT, SPEECH_END, VadEvent, VadSession
from voxgate._native.silero import SileroDetector, SileroNetwork
from voxgate.audio import StreamDecoder
from voxgate.errors import ConfigError, InvalidStart
from voxgate.messages import AudioFormat, VadOptions
from voxgate.weights import default_path, load_weights

__all__ = [
    "DETECTORS",
    "DetectorFactory",
    "VadConfig",
    "load_detector",
    "segments",
    "segments_of_channels",
    "speech_probabilities",
]

Audio = npt.NDArray[np.float32]

#: The detectors that have a name of their own.
DETECTORS: Final = ("silero", "energy")

# Lowest, highest and unit of every setting. The highest negative_threshold is the threshold.
_RANGES: Final[Mapping[str, tuple[float, float, str]]] = {
    "threshold": (0.01, 0.99, ""),
    "negative_threshold": (0, 0.99, ""),
    "prefix_padding_ms": (0, 5000, " ms"),
    "suffix_padding_ms": (0, 2000, " ms"),
    "silence_duration_ms": (50, 10_000, " ms"),
    "min_speech_ms": (0, 2000, " ms"),
    "max_segment_s": (1, 300, " s"),
    "interim_interval_ms": (50, 60_000, " ms"),
}

# A whole file is fed in slices of this length, so that the audio of its segments is never there all at once.
_SLICE_S: Final = 10


@dataclass(frozen=True, slots=True)
class VadConfig:
    """When speech begins and ends. The rules stand in ``voxgate._native.endpoint``, the ranges in the table of
    :meth:`check`.

    ``threshold``: a frame at or above it is speech. ``negative_threshold``: a frame below it is silence; in between
    nothing changes. ``prefix_padding_ms``, ``suffix_padding_ms``: audio added before the first and after the last
    speech frame. ``silence_duration_ms``: silence that ends a segment. ``min_speech_ms``: shorter speech opens none.
    ``max_segment_s``: a segment this long is cut, and goes on. ``interim_interval_ms``: audio between two interims.
    """

    threshold: float = 0.5
    negative_threshold: float = 0.35
    prefix_padding_ms: float = 600
    suffix_padding_ms: float = 0
    silence_duration_ms: float = 600
    min_speech_ms: float = 90
    max_segment_s: float = 30.0
    interim_interval_ms: float = 500

    def check(self) -> None:
        """Raise ValueError naming the field, its value and the range, unless all are in range (ends included).

        threshold 0.01..0.99, negative_threshold 0..threshold, prefix_padding_ms 0..5000, suffix_padding_ms 0..2000,
        silence_duration_ms 50..10000, min_speech_ms 0..2000, max_segment_s 1..300, interim_interval_ms 50..60000.
        """
        for name, (lowest, highest, unit) in _RANGES.items():
            value = getattr(self, name)
            if name == "negative_threshold":
                highest = self.threshold
            if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
                raise ValueError(f"{name} must be {lowest}..{highest}{unit}, got {_show(value)}")

    def changed(self, **changes: Any) -> VadConfig:
        """A checked copy with these fields; None leaves a field as it is. ValueError as :meth:`check`, TypeError for an
        unknown field.

        Where only the threshold is given, and is below the negative threshold so far, the latter is lowered to it.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        changed = replace(self, **given)
        if "threshold" in given and "negative_threshold" not in given and changed.threshold < self.negative_threshold:
            changed = replace(changed, negative_threshold=changed.threshold)
        changed.check()
        return changed

    def merged(self, options: VadOptions | None) -> VadConfig:
        """These settings with a client's options over them. InvalidStart naming field, value and range. See
        :meth:`changed`.
        """
        if options is None:
            return self
        try:
            return self.changed(**{name: getattr(options, name) for name in options.__struct_fields__})
        except ValueError as exc:
            raise InvalidStart(f"vad.{exc}") from None

    def to_endpoint(self, frame_samples: int, sample_rate: int, interims: bool = False) -> EndpointConfig:
        """The same in samples, for frames of ``frame_samples`` at ``sample_rate`` Hz, each time rounded to the nearest
        sample.

        Without ``interims`` the endpointer makes none. ValueError as :meth:`check`.
        """
        self.check()

        def samples(milliseconds: float) -> int:
            return math.floor(milliseconds * sample_rate / 1000 + 0.5)

        return EndpointConfig(
            frame_samples,
            threshold=self.threshold,
            negative_threshold=self.negative_threshold,
            prefix_samples=samples(self.prefix_padding_ms),
            suffix_samples=samples(self.suffix_padding_ms),
            silence_samples=samples(self.silence_duration_ms),
            min_speech_samples=samples(self.min_speech_ms),
            max_segment_samples=samples(self.max_segment_s * 1000),
            interim_samples=max(1, samples(self.interim_interval_ms)) if interims else 0,
        )


def _show(value: object) -> str:
    """For an error: a number as it is, unless it is absurdly long."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)[:80]


assert set(_RANGES) == {field.name for field in fields(VadConfig)}


@dataclass(frozen=True, slots=True)
class DetectorFactory:
    """Makes the detectors of one kind; what they share (weights) is loaded. Any thread; see :func:`load_detector`.

    ``frame_samples``: samples of a frame. ``sample_rate``: Hz, of the audio the detectors take.
    """

    name: str
    frame_samples: int
    sample_rate: int
    make: Callable[[int], Detector]

    def create(self, channels: int = 1) -> Detector:
        """A new detector for this many channels, which has heard nothing."""
        return self.make(channels)


def load_detector(name: str = "silero", weights: str | os.PathLike[str] | None = None) -> DetectorFactory:
    """The factory of a detector. Everything that can be wrong is found here, never at the first frame.

    ``name``: "silero" (the neural network; ``weights`` is the path of a weights file, None takes the installed ones; a
    file is loaded once per process), "energy" (level above the noise floor), or "pkg.module:attr" for one written in
    Python: a class, or a function without arguments, whose objects have ``frame_samples``, ``sample_rate`` (Hz) and
    ``probability(frame) -> float``, frame float32 of shape (frame_samples,). Every channel gets an object of its own;
    of a ready-made object, a deep copy.

    WeightsError for the weights, ConfigError for everything else.
    """
    if name == "silero":
        network = _silero_network(weights)
        probe: Detector = SileroDetector(network)
        return DetectorFactory(
            name, probe.frame_samples, probe.sample_rate, lambda channels: SileroDetector(network, channels)
        )
    if name == "energy":
        probe = EnergyDetector()
        return DetectorFactory(name, probe.frame_samples, probe.sample_rate, EnergyDetector)
    if ":" not in name:
        raise ConfigError(f"unknown detector {name!r}: expected {', '.join(DETECTORS)} or 'pkg.module:attribute'")
    return _python_detector(name)


_silero_lock = threading.Lock()


def _silero_network(weights: str | os.PathLike[str] | None) -> SileroNetwork:
    path = default_path() if weights is None else Path(weights)
    with _silero_lock:
        return _load_network(path.absolute())


@lru_cache(maxsize=4)
def _load_network(path: Path) -> SileroNetwork:
    return SileroNetwork(load_weights(path))


def _python_detector(name: str) -> DetectorFactory:
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as exc:
        raise ConfigError(f"detector {name!r} cannot be imported: {type(exc).__name__}: {exc}") from exc

    ready_made = not isinstance(found, type) and hasattr(found, "probability")
    if ready_made:
        # Kept apart from the module's own object, which somebody else may be using.
        try:
            pristine = copy.deepcopy(found)
        except Exception as exc:
            raise ConfigError(
                f"detector {name!r} is an object that cannot be copied ({type(exc).__name__}: {exc}): "
                "name its class, or a function that makes one, so that every channel gets its own"
            ) from exc

        def one() -> Any:
            return copy.deepcopy(pristine)
    elif callable(found):
        one = found
    else:
        raise ConfigError(f"detector {name!r} must be a class, a function or a detector, got {type(found).__name__}")
    try:
        probe = one()
    except Exception as exc:
        raise ConfigError(f"detector {name!r} cannot be made: {type(exc).__name__}: {exc}") from exc
    if not callable(getattr(probe, "probability", None)):
        raise ConfigError(f"detector {name!r} has no method probability(frame)")
    sizes = {}
    for field, lowest, highest in (("sample_rate", 4000, 192_000), ("frame_samples", 1, 1 << 20)):
        value = getattr(probe, field, None)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ConfigError(f"detector {name!r}: {field} must be an integer, {lowest}..{highest}, got {value!r}")
        sizes[field] = value
    frame_samples, sample_rate = sizes["frame_samples"], sizes["sample_rate"]
    return DetectorFactory(
        name, frame_samples, sample_rate, lambda channels: CallableDetector(one, channels, frame_samples, sample_rate)
    )


def speech_probabilities(samples: npt.ArrayLike, sample_rate: int, detector: str | DetectorFactory = "silero") -> Audio:
    """The probability of speech in each frame of the detector: float32, shape (frames,), 0..1.

    ``samples``: shape (n,), at ``sample_rate`` Hz (4000..192000), as a client would send them: floats, -1..1, or
    integers (int16, int32, uint8 with silence at 128). They are decoded and resampled as a server with the default
    resampler does it, so floats beyond -1..1 are clipped, and those that are not finite count as 0. The last partial
    frame counts, filled up with zeros: frame ``i`` covers the time from ``i * frame_samples / sample_rate`` of the
    detector on. ``detector``: a name for :func:`load_detector`, or what it returned. ValueError for another shape and
    other integers; the errors of load_detector. The GIL is released.
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
    """Where somebody speaks: (start, end) in seconds from the start of the samples, in order, not overlapping, none
    empty.

    Exactly the segments a server with these settings would cut: with padding, and cut at ``max_segment_s``, where the
    next one begins. ``config``: None is ``VadConfig()``; ValueError when out of range. Everything else as in
    :func:`speech_probabilities`.
    """
    return segments_of_channels(_mono(samples), sample_rate, config, detector)[0]


def segments_of_channels(
    planes: npt.ArrayLike,
    sample_rate: int,
    config: VadConfig | None = None,
    detector: str | DetectorFactory = "silero",
) -> list[list[tuple[float, float]]]:
    """:func:`segments` of each channel of ``planes``, shape (channels, n), 1..256 channels; the detector takes them
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
    # Resampling rounds the length up to half a sample; no time may lie beyond the end.
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
    """Planes, shape (channels, n), in slices as the server of a client that sends them would hand them to the detector.

    ValueError for a dtype that has no format on the wire, and for a rate or a number of channels out of range.
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
