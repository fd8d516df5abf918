from .endpoint cimport endpoint_event_t
from .ring cimport SampleRing
from .types cimport pos_t, sample_t


cdef class VadEvent:
    cdef readonly int kind
    cdef readonly Py_ssize_t channel
    cdef readonly long long start_pos
    cdef readonly long long end_pos
    cdef readonly object audio


# An event before it is an object. audio: a copy of [start_pos, end_pos) from PyMem_RawMalloc, or NULL.
cdef struct event_record_t:
    int kind
    Py_ssize_t channel
    pos_t start_pos
    pos_t end_pos
    sample_t *audio


# The events of one session that were collected without the GIL and are no objects yet.
cdef class EventBuffer:
    cdef Py_ssize_t n_events
    cdef event_record_t *_records
    cdef Py_ssize_t _capacity

    # Adds an event; the audio of a segment that ends is copied from `ring`, before the ring discards it.
    cdef int add(self, Py_ssize_t channel, const endpoint_event_t *event, SampleRing ring) except -1 nogil
    # The events as VadEvent, in their order; the buffer is empty afterwards.
    cdef list take(self)
    cdef void clear(self) noexcept
    cdef Py_ssize_t nbytes(self) noexcept
