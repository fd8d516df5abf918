from .pcm cimport PcmDecoder
from .resample cimport Resampler
from .session cimport VadSession

cdef enum:
    INTAKE_TAKEN = 0
    INTAKE_WAITING = 1
    INTAKE_DECLINED = 2


cdef class Intake:
    cdef readonly PcmDecoder decoder
    cdef readonly Resampler resampler
    cdef readonly VadSession session
    cdef public long long due_frames

    # `take` of bytes in memory, which are not kept.
    cdef int take_bytes(self, const unsigned char *data, Py_ssize_t n_bytes) except -1
