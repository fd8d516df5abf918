"""The base of voice-activity detectors: a frame of samples becomes a probability of speech."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.limits cimport INT_MAX

import numpy as np

cimport numpy as cnp

cnp.import_array()


cdef class Detector:
    """Base of all detectors: `channels` independent streams stepped together, frame by frame.

    Attributes: ``frame_samples`` (samples of a frame), ``sample_rate`` (Hz), ``channels``.
    Threads: one caller at a time; two detectors may run on two threads at once.
    """

    cdef int step(self, const sample_t **frames, float *probabilities) except -1 nogil:
        with gil:
            raise AssertionError("a detector must define step()")

    cdef int reset_state(self) except -1 nogil:
        return 0

    def __reduce__(self):
        raise TypeError(f"a {type(self).__name__} belongs to one stream and cannot be pickled or copied")

    def reset(self) -> None:
        """Return to the initial state: the next frame is the first of a new stream."""
        self.reset_state()

    def probabilities(self, planes) -> np.ndarray:
        """Run every whole frame of ``planes`` from the current state; a shorter rest is ignored.

        ``planes``: float32, shape (channels, samples), -1..1, at ``sample_rate``. Returns float32, shape (channels, frames), 0..1.
        ValueError on another shape. The GIL is released, except for detectors written in Python.
        """
        cdef cnp.ndarray audio = cnp.PyArray_FROMANY(planes, cnp.NPY_FLOAT32, 0, 0, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_FORCECAST)
        cdef Py_ssize_t channels = self.channels, frame_samples = self.frame_samples
        if frame_samples < 1:
            raise AssertionError("a detector must set frame_samples")
        if cnp.PyArray_NDIM(audio) != 2 or cnp.PyArray_DIM(audio, 0) != channels:
            raise ValueError(f"planes must have shape ({channels}, samples), got {(<object>audio).shape}")
        cdef Py_ssize_t n_samples = cnp.PyArray_DIM(audio, 1), n_frames = n_samples // frame_samples
        cdef Py_ssize_t frame, channel
        cdef cnp.npy_intp shape[2]
        shape[0] = channels
        shape[1] = n_frames
        result = cnp.PyArray_SimpleNew(2, shape, cnp.NPY_FLOAT32)
        cdef const sample_t *samples = <const sample_t *>cnp.PyArray_DATA(audio)
        cdef float *out = <float *>cnp.PyArray_DATA(<cnp.ndarray>result)
        # The arguments of step() for one frame.
        cdef const sample_t **frames = <const sample_t **>PyMem_Malloc(channels * (sizeof(sample_t *) + sizeof(float)))
        if frames == NULL:
            raise MemoryError
        cdef float *stepped = <float *>(frames + channels)
        try:
            with nogil:
                for frame in range(n_frames):
                    for channel in range(channels):
                        frames[channel] = samples + channel * n_samples + frame * frame_samples
                    self.step(frames, stepped)
                    for channel in range(channels):
                        out[channel * n_frames + frame] = stepped[channel]
        finally:
            PyMem_Free(frames)
        return result


cdef class CallableDetector(Detector):
    """A detector written in Python: ``factory()`` gives, per channel, an object with ``probability(frame) -> float``.

    ``frame``: float32, shape (frame_samples,); it is a copy and may be kept. A probability outside 0..1 or not a number is a
    ValueError; an exception of the detector is raised. Every frame takes the GIL, so this is slow.
    """

    def __init__(self, factory, Py_ssize_t channels, Py_ssize_t frame_samples, Py_ssize_t sample_rate) -> None:
        if self._detectors is not None:
            raise RuntimeError("a CallableDetector is set up once: others rely on its channels and frame_samples")
        if channels < 1 or frame_samples < 1 or sample_rate < 1:
            raise ValueError(
                "channels, frame_samples and sample_rate must be at least 1, "
                f"got {channels}, {frame_samples} and {sample_rate}"
            )
        if sample_rate > INT_MAX:
            raise ValueError(f"sample_rate must be at most {INT_MAX}, got {sample_rate}")
        detectors = [factory() for _ in range(channels)]
        self._factory = factory
        self._detectors = detectors
        self.channels = channels
        self.frame_samples = frame_samples
        self.sample_rate = <int>sample_rate

    cdef int reset_state(self) except -1 nogil:
        with gil:
            self._detectors = [self._factory() for _ in range(self.channels)]
        return 0

    cdef int step(self, const sample_t **frames, float *probabilities) except -1 nogil:
        cdef Py_ssize_t channel
        cdef const sample_t[::1] frame
        with gil:
            for channel in range(self.channels):
                frame = <sample_t[:self.frame_samples]>(<sample_t *>frames[channel])
                probability = float(self._detectors[channel].probability(np.array(frame)))
                if not 0.0 <= probability <= 1.0:
                    raise ValueError(f"a detector's probability must be within 0..1, got {probability!r}")
                probabilities[channel] = probability
        return 0
