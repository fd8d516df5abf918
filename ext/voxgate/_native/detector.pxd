from .types cimport sample_t


cdef class Detector:
    cdef readonly Py_ssize_t frame_samples
    cdef readonly int sample_rate
    cdef readonly Py_ssize_t channels

    # One frame of every channel: frames[c] points to frame_samples samples, probabilities[c] receives 0..1.
    cdef int step(self, const sample_t **frames, float *probabilities) except -1 nogil
    # Back to the state of a new stream.
    cdef int reset_state(self) except -1 nogil


cdef class CallableDetector(Detector):
    cdef list _detectors
    cdef object _factory
