"""The events of a VadSession: VadEvent, and the buffer that collects events without the GIL."""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc

cimport numpy as cnp

from .endpoint cimport (
    ENDPOINT_INTERIM,
    ENDPOINT_QUESTION,
    ENDPOINT_RESUMED,
    ENDPOINT_SPECULATE,
    ENDPOINT_SPEECH_CUT,
    ENDPOINT_SPEECH_END,
    ENDPOINT_SPEECH_START,
)

cnp.import_array()

SPEECH_START = ENDPOINT_SPEECH_START
SPEECH_END = ENDPOINT_SPEECH_END
SPEECH_CUT = ENDPOINT_SPEECH_CUT
INTERIM = ENDPOINT_INTERIM
SPECULATE = ENDPOINT_SPECULATE
RESUMED = ENDPOINT_RESUMED
QUESTION = ENDPOINT_QUESTION

cdef tuple _KIND_NAMES = ("?", "SPEECH_START", "SPEECH_END", "SPEECH_CUT", "INTERIM", "SPECULATE", "RESUMED", "QUESTION")

# An empty buffer keeps room for at most this many events; a whole file in one call may need far more.
cdef Py_ssize_t _KEPT_EVENTS = 64


@cython.final
cdef class VadEvent:
    """Something that happened in a channel.

    ``kind``: SPEECH_START, SPEECH_END, SPEECH_CUT, INTERIM, SPECULATE, RESUMED or QUESTION. ``channel``: 0-based. ``start_pos``, ``end_pos``: samples
    since the start of the session at the detector's rate; for SPEECH_START, ``start_pos`` is the start of the segment
    and ``end_pos`` the position of the decision. ``audio``: for SPEECH_END, SPEECH_CUT and SPECULATE, the segment
    [start_pos, end_pos), and for QUESTION its last part, float32, shape (samples,), owned by the event; None if the segment is empty, and for the other kinds.
    Immutable; any thread.
    """

    def __init__(self, int kind, Py_ssize_t channel, start_pos, end_pos, audio=None):
        self.kind = kind
        self.channel = channel
        self.start_pos = start_pos
        self.end_pos = end_pos
        self.audio = audio

    def __reduce__(self):
        return VadEvent, (self.kind, self.channel, self.start_pos, self.end_pos, self.audio)

    def __repr__(self):
        name = _KIND_NAMES[self.kind] if 0 < self.kind < len(_KIND_NAMES) else str(self.kind)
        return f"VadEvent({name}, channel={self.channel}, start_pos={self.start_pos}, end_pos={self.end_pos})"


@cython.final
cdef class _Samples:
    """Owner of the memory of an event's NumPy array."""

    cdef sample_t *data

    def __reduce__(self):
        raise TypeError("memory of a segment cannot be pickled")

    def __dealloc__(self):
        PyMem_RawFree(self.data)


@cython.final
cdef class EventBuffer:
    """Internal: the collected events of one VadSession."""

    def __dealloc__(self):
        self.clear()
        PyMem_RawFree(self._records)

    def __reduce__(self):
        raise TypeError("an EventBuffer belongs to one VadSession and cannot be pickled or copied")

    cdef int add(self, Py_ssize_t channel, const endpoint_event_t *event, SampleRing ring) except -1 nogil:
        cdef event_record_t *record
        cdef Py_ssize_t capacity
        if self.n_events == self._capacity:
            capacity = 2 * self._capacity if self._capacity > 0 else 8
            record = <event_record_t *>PyMem_RawRealloc(self._records, capacity * sizeof(event_record_t))
            if record == NULL:
                with gil:
                    raise MemoryError
            self._records = record
            self._capacity = capacity
        record = &self._records[self.n_events]
        record.kind = event.kind
        record.channel = channel
        record.start_pos = event.start_pos
        record.end_pos = event.end_pos
        record.audio = NULL
        self.n_events += 1
        if event.end_pos > event.start_pos and event.kind in (
            ENDPOINT_SPEECH_END, ENDPOINT_SPEECH_CUT, ENDPOINT_SPECULATE, ENDPOINT_QUESTION
        ):
            record.audio = <sample_t *>PyMem_RawMalloc((event.end_pos - event.start_pos) * sizeof(sample_t))
            if record.audio == NULL:
                with gil:
                    raise MemoryError(f"no memory for a segment of {event.end_pos - event.start_pos} samples")
            ring.ring_read(event.start_pos, event.end_pos, record.audio)
        return 0

    cdef list take(self):
        cdef event_record_t *record
        cdef Py_ssize_t index
        cdef cnp.npy_intp n
        cdef VadEvent event
        cdef _Samples owner
        cdef list events = []
        for index in range(self.n_events):
            record = &self._records[index]
            event = VadEvent.__new__(VadEvent)
            event.kind = record.kind
            event.channel = record.channel
            event.start_pos = record.start_pos
            event.end_pos = record.end_pos
            if record.audio != NULL:
                n = record.end_pos - record.start_pos
                owner = _Samples.__new__(_Samples)
                owner.data = record.audio
                record.audio = NULL
                event.audio = cnp.PyArray_SimpleNewFromData(1, &n, cnp.NPY_FLOAT32, owner.data)
                cnp.set_array_base(event.audio, owner)
            events.append(event)
        self.n_events = 0
        if self._capacity > _KEPT_EVENTS:
            PyMem_RawFree(self._records)
            self._records = NULL
            self._capacity = 0
        return events

    cdef void clear(self) noexcept:
        cdef Py_ssize_t index
        for index in range(self.n_events):
            PyMem_RawFree(self._records[index].audio)
        self.n_events = 0

    cdef Py_ssize_t nbytes(self) noexcept:
        return self._capacity * sizeof(event_record_t)
