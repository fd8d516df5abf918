from .pcm cimport PcmDecoder
from .resample cimport Resampler
from .session cimport VadSession
from .types cimport sample_t

cdef enum:
    INTAKE_TAKEN = 0
    INTAKE_WAITING = 1
    INTAKE_DECLINED = 2


cdef class PcmIntake:
    cdef readonly PcmDecoder decoder
    cdef readonly Resampler resampler
    cdef public long long due_frames

    cdef int _check_channels(self, str sink, Py_ssize_t channels) except -1
    # `take` of bytes in memory, which are not kept.
    cdef int take_bytes(self, const unsigned char *data, Py_ssize_t n_bytes) except -1
    cdef bint _has_to_wait(self) noexcept
    # Planes of n samples, one behind the other, as float32. Whether there is something to do now.
    cdef bint _store(self, const sample_t *planes, Py_ssize_t n) except -1


cdef class Intake(PcmIntake):
    cdef readonly VadSession session


cdef class RingIntake(PcmIntake):
    cdef list _rings
    cdef Py_ssize_t _min_samples
