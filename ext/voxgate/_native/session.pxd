from .detector cimport Detector
from .endpoint cimport EndpointConfig, endpoint_event_t, endpoint_t
from .ring cimport SampleRing
from .types cimport pos_t, sample_t


# An event before it is an object. audio: a copy of [start_pos, end_pos) from PyMem_RawMalloc, or NULL.
cdef struct session_event_t:
    int kind
    Py_ssize_t channel
    pos_t start_pos
    pos_t end_pos
    sample_t *audio


cdef class VadEvent:
    cdef readonly int kind
    cdef readonly Py_ssize_t channel
    cdef readonly long long start_pos
    cdef readonly long long end_pos
    cdef readonly object audio


cdef class VadSession:
    cdef readonly Detector detector
    cdef readonly EndpointConfig config
    cdef readonly Py_ssize_t channels
    cdef readonly long long received_pos
    cdef list _ring_objects
    cdef void **_rings                   # borrowed from _ring_objects: a list cannot be indexed without the GIL
    cdef endpoint_t *_endpoints
    cdef float *_probabilities
    cdef const sample_t **_frames        # where the frame of each channel lies
    cdef Py_ssize_t _n_unheard           # samples at the end of the rings: no whole frame yet, or left to `hear`
    cdef session_event_t *_events
    cdef Py_ssize_t _n_events, _events_capacity
    cdef bint _busy                      # a call is under way
    cdef bint _failed, _finished
    cdef bint _may_wait                  # frames may be left to `hear`

    cdef int _new_rings(self) except -1
    cdef SampleRing _ring(self, Py_ssize_t channel)
    cdef void _drop_events(self) noexcept
    cdef int _enter(self) except -1
    cdef int _run(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil
    cdef int _push(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil
    cdef int _hear_waiting(self) except -1 nogil
    cdef int _catch_up(self) except -1
    cdef pos_t _next_frame(self) except -1 nogil
    cdef int _frame(self, pos_t end_pos) except -1 nogil
    cdef int _judge(self, pos_t end_pos) except -1 nogil
    cdef int _close(self) except -1 nogil
    cdef int _collect(self, Py_ssize_t channel, const endpoint_event_t *event) except -1 nogil
    cdef int _take(self, object planes, bint may_wait) except -1
    cdef int _take_samples(self, const sample_t *samples, Py_ssize_t channel_stride, Py_ssize_t n, bint may_wait) except -1
    # `take` of planes in memory, a stride in samples apart.
    cdef bint take_planes(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1
    cdef list _feed(self, object planes)
    cdef list _finish(self)
    cdef list _objects(self)
