"""The detectors, by name.

Threads may share the factory that :func:`load_detector` returns; a detector has one caller at a time.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from voxgate._native.detector import CallableDetector, Detector
from voxgate._native.energy import EnergyDetector
from voxgate._native.silero import SileroDetector, SileroNetwork
from voxgate.errors import ConfigError
from voxgate.protocol.formats import MAX_RATE, MIN_RATE
from voxgate.runtime.import_name import ImportNameError, import_name
from voxgate.vad.weights import default_path, load_weights

__all__ = ["DETECTORS", "DetectorFactory", "load_detector"]

#: The built-in detectors.
DETECTORS: Final = ("silero", "energy")


@dataclass(frozen=True, slots=True)
class DetectorFactory:
    """Makes detectors of one kind, which share their weights. Any thread; see :func:`load_detector`.

    ``frame_samples``: samples per frame. ``sample_rate``: of the detectors' audio, in Hz.
    """

    name: str
    frame_samples: int
    sample_rate: int
    make: Callable[[int], Detector]

    def create(self, channels: int = 1) -> Detector:
        """A new detector for this many channels, in its initial state."""
        return self.make(channels)


def load_detector(name: str = "silero", weights: str | os.PathLike[str] | None = None) -> DetectorFactory:
    """The factory of a detector. Every fault of the detector is found here, not at the first frame.

    ``name``: "silero" (the neural network; ``weights`` is the path of a weights file, None: the installed ones; a file
    is loaded once per process), "energy" (level above the noise floor), or "pkg.module:attr" for one written in Python:
    a class, or a function without arguments, that makes objects with ``frame_samples``, ``sample_rate`` (Hz) and
    ``probability(frame) -> float``, frame float32 of shape (frame_samples,). Every channel gets its own object; of a
    ready-made object, a deep copy.

    Raises WeightsError for the weights and ConfigError for everything else.
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
    try:
        found: Any = import_name(name)
    except ImportNameError as error:
        raise ConfigError(f"detector {name!r}: {error}") from error.__cause__

    ready_made = not isinstance(found, type) and hasattr(found, "probability")
    if ready_made:
        # A copy now: other code may use and change the module's own object later.
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
    for field, lowest, highest in (("sample_rate", MIN_RATE, MAX_RATE), ("frame_samples", 1, 1 << 20)):
        value = getattr(probe, field, None)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ConfigError(f"detector {name!r}: {field} must be an integer, {lowest}..{highest}, got {value!r}")
        sizes[field] = value
    frame_samples, sample_rate = sizes["frame_samples"], sizes["sample_rate"]
    return DetectorFactory(
        name, frame_samples, sample_rate, lambda channels: CallableDetector(one, channels, frame_samples, sample_rate)
    )
