"""Live audio in one call: PCM bytes are decoded, resampled and written into the rings of a VadSession, or into rings."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE

from .pcm cimport PcmDecoder
from .resample cimport Resampler
from .ring cimport SampleRing
from .session cimport VadSession
from .types cimport pos_t, sample_t

TAKEN = INTAKE_TAKEN
WAITING = INTAKE_WAITING
DECLINED = INTAKE_DECLINED

# Decoded and resampled samples are on the stack (80 KiB), with room for 100 ms of two channels at 48 kHz.
cdef enum:
    _MOST_SAMPLES = 10240


cdef class PcmIntake:
    """The base of `Intake` and `RingIntake`, which define where the samples go.

    ``decoder`` and ``resampler`` (None: the rates are equal) belong to one stream and have the same number of channels
    (ValueError). Their states are those after the separate calls, which may be mixed with this one.

    ``due_frames``: once this many frames have been received, `take` declines, so that the caller can check the clock.
    Threads: one caller at a time; the GIL is kept.
    """

    # Here, so that there is none without a decoder, whatever class it is of.
    def __cinit__(self, PcmDecoder decoder not None, Resampler resampler, *args, **kwargs):
        self.decoder = decoder
        self.resampler = resampler

    cdef int _check_channels(self, str sink, Py_ssize_t channels) except -1:
        cdef Resampler resampler = self.resampler
        if self.decoder.channels != channels or (resampler is not None and resampler.channels != channels):
            raise ValueError(
                f"decoder, resampler and {sink} must have as many channels, got {self.decoder.channels}, "
                f"{resampler.channels if resampler is not None else None} and {channels}"
            )
        return 0

    def __reduce__(self):
        raise TypeError(f"a {type(self).__name__} belongs to one stream and cannot be pickled or copied")

    def take(self, data):
        """Take ``data``, bytes of any length, split anywhere. Returns WAITING when there is something to do now, TAKEN
        when there is not, and DECLINED when nothing was taken because ``data`` is too long, not bytes, or
        ``due_frames`` is reached: then the caller pushes it. Errors as those of the separate calls.
        """
        if not PyBytes_CheckExact(data):
            return DECLINED
        return self.take_bytes(<const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int take_bytes(self, const unsigned char *data, Py_ssize_t n_bytes) except -1:
        cdef PcmDecoder decoder = self.decoder
        cdef Resampler resampler = self.resampler
        cdef sample_t decoded[_MOST_SAMPLES]
        cdef sample_t resampled[_MOST_SAMPLES]
        cdef Py_ssize_t channels = decoder.channels, n_frames
        cdef pos_t n_out
        if decoder.received_frames >= self.due_frames or self._has_to_wait():
            return INTAKE_DECLINED
        n_frames = decoder.n_frames(n_bytes)
        if n_frames * channels > _MOST_SAMPLES:
            return INTAKE_DECLINED
        if resampler is None:
            decoder.decode(data, n_bytes, n_frames, decoded)
            return INTAKE_WAITING if self._store(decoded, n_frames) else INTAKE_TAKEN
        n_out = resampler.n_ready(n_frames)
        if n_out * channels > _MOST_SAMPLES:
            return INTAKE_DECLINED
        decoder.decode(data, n_bytes, n_frames, decoded)
        resampler.resample(decoded, n_frames, n_frames, resampled, n_out)
        return INTAKE_WAITING if self._store(resampled, n_out) else INTAKE_TAKEN

    cdef bint _has_to_wait(self) noexcept:
        return False

    cdef bint _store(self, const sample_t *planes, Py_ssize_t n) except -1:
        raise AssertionError("an intake must define _store()")


@cython.final
cdef class Intake(PcmIntake):
    """The steps of `decoder.push`, `resampler.push` and `session.take` in one call, without arrays between them.

    WAITING: `VadSession.take` returns True. While the ``session`` waits for an answer, `take` declines, too.
    """

    def __cinit__(self, PcmDecoder decoder not None, Resampler resampler, VadSession session not None):
        self._check_channels("session", session.channels)
        self.session = session

    cdef bint _has_to_wait(self) noexcept:
        return self.session.n_questions > 0

    cdef bint _store(self, const sample_t *planes, Py_ssize_t n) except -1:
        return self.session.take_planes(planes, n, n)


@cython.final
cdef class RingIntake(PcmIntake):
    """The steps of `decoder.push`, `resampler.push` and `SampleRing.push` into the ring of each channel in one call.

    ``rings``: one for each channel. WAITING: one of them holds ``min_samples`` or more.
    """

    def __cinit__(self, PcmDecoder decoder not None, Resampler resampler, list rings not None, Py_ssize_t min_samples):
        for ring in rings:
            if type(ring) is not SampleRing:
                raise TypeError(f"rings must be SampleRing, got {type(ring).__name__}")
        if len({id(ring) for ring in rings}) != len(rings):
            raise ValueError("each channel needs a ring of its own, got one twice")
        self._check_channels("rings", len(rings))
        self._rings = list(rings)
        self._min_samples = min_samples

    cdef bint _store(self, const sample_t *planes, Py_ssize_t n) except -1:
        cdef SampleRing ring
        cdef bint is_due = False
        for ring in self._rings:
            ring.ring_push(planes, n)
            planes += n
            is_due |= ring.end_pos - ring.start_pos >= self._min_samples
        return is_due
