from .detector cimport Detector
from .endpoint cimport EndpointConfig, endpoint_t
from .event cimport EventBuffer
from .ring cimport SampleRing
from .types cimport pos_t, sample_t


# `step_sessions` steps at most this many channels together: a larger group would not be cheaper.
cdef enum:
    MAX_BATCH_CHANNELS = 64


cdef class VadSession:
    # What each message needs stands together: with many streams, each line of it has to come from memory.
    cdef readonly Py_ssize_t channels
    cdef Py_ssize_t _frame_samples       # those of the config
    cdef Py_ssize_t _n_pending           # samples at the end of the rings that were not stepped yet
    cdef readonly long long received_pos
    cdef Py_ssize_t n_questions          # that wait for an answer; until they have one, no frame is stepped
    cdef bint _busy                      # a call is under way
    cdef bint _failed, _finished
    cdef bint _may_wait                  # frames may wait for `step_sessions`
    cdef EventBuffer _events             # completed, and not returned yet
    cdef readonly Detector detector
    cdef readonly EndpointConfig config
    cdef list _ring_objects
    # Of each channel, in one block, which begins with _rings.
    cdef void **_rings                   # borrowed from _ring_objects: a list cannot be indexed without the GIL
    cdef const sample_t **_frames        # the frame of each channel
    cdef endpoint_t *_endpoints
    cdef float *_probabilities

    cdef int _new_rings(self) except -1
    cdef SampleRing _ring(self, Py_ssize_t channel)
    cdef int _enter(self) except -1
    cdef int _run(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil
    cdef int _push(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil
    cdef int _step_waiting(self) except -1 nogil
    cdef int _catch_up(self) except -1
    cdef void _drop_questions(self) noexcept
    cdef pos_t _next_frame(self, sample_t *room) except -1 nogil
    cdef int _step_frame(self, pos_t end_pos) except -1 nogil
    cdef int _apply_probabilities(self, pos_t end_pos) except -1 nogil
    cdef int _close(self) except -1 nogil
    cdef int _take(self, object planes, bint may_wait) except -1
    cdef int _take_samples(self, const sample_t *samples, Py_ssize_t channel_stride, Py_ssize_t n, bint may_wait) except -1
    # `take` for planes in memory, channel_stride samples apart.
    cdef bint take_planes(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1
    cdef list _feed(self, object planes)
    cdef list _finish(self)
