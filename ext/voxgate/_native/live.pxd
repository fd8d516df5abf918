from .intake cimport PcmIntake
from .session cimport VadSession


cdef class LiveAudio:
    cdef public bint is_open
    cdef readonly double heard_s
    cdef PcmIntake _intake
    cdef VadSession _session             # of the intake; None: it has rings
    cdef Py_ssize_t _max_bytes
    cdef dict _unchecked
    cdef object _texts
    cdef dict _waiting
    cdef object _schedule
    cdef object _on_frames
    cdef object _clock
    cdef long long[::1] _count
    cdef object _otherwise
    cdef object _on_failure

    cdef int _note(self, Py_ssize_t n_bytes) except -1
    # What `offer` will touch: from step 1 on, each from what the step before has fetched.
    cdef void fetch(self, int step) noexcept
    # Whether the message in memory, which is not kept, was taken.
    cdef bint offer(self, const unsigned char *data, Py_ssize_t n_bytes) except -1
