"""Live audio in one call: PCM bytes are decoded, resampled and written into the rings of a VadSession."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE

from .pcm cimport PcmDecoder
from .resample cimport Resampler
from .session cimport VadSession
from .types cimport pos_t, sample_t

TAKEN = INTAKE_TAKEN
WAITING = INTAKE_WAITING
DECLINED = INTAKE_DECLINED

# Decoded and resampled samples are on the stack (80 KiB), with room for 100 ms of two channels at 48 kHz.
cdef enum:
    _MOST_SAMPLES = 10240


@cython.final
cdef class Intake:
    """The steps of `decoder.push`, `resampler.push` and `session.take` in one call, without arrays between them.

    ``decoder``, ``resampler`` (None: the rates are equal) and ``session`` belong to one stream and have the same number
    of channels (ValueError). Their states are those after the separate calls, which may be mixed with this one.

    ``due_frames``: once this many frames have been received, `take` declines, so that the caller can check the clock.
    While the session waits for an answer it declines, too.
    Threads: one caller at a time; the GIL is kept.
    """

    def __cinit__(self, PcmDecoder decoder not None, Resampler resampler, VadSession session not None):
        if decoder.channels != session.channels or (resampler is not None and resampler.channels != session.channels):
            raise ValueError(
                f"decoder, resampler and session must have as many channels, got {decoder.channels}, "
                f"{resampler.channels if resampler is not None else None} and {session.channels}"
            )
        self.decoder = decoder
        self.resampler = resampler
        self.session = session

    def __reduce__(self):
        raise TypeError("an Intake belongs to one stream and cannot be pickled or copied")

    def take(self, data):
        """Take ``data``, bytes of any length, split anywhere. Returns WAITING when `step_sessions` has something to do
        (`VadSession.take` returns True), TAKEN when it does not, and DECLINED when nothing was taken because ``data`` is
        too long, not bytes, or ``due_frames`` is reached: then the caller pushes it. Errors as in `VadSession.take`.
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
        if decoder.received_frames >= self.due_frames or self.session.n_questions > 0:
            return INTAKE_DECLINED
        n_frames = decoder.n_frames(n_bytes)
        if n_frames * channels > _MOST_SAMPLES:
            return INTAKE_DECLINED
        if resampler is None:
            decoder.decode(data, n_bytes, n_frames, decoded)
            return INTAKE_WAITING if self.session.take_planes(decoded, n_frames, n_frames) else INTAKE_TAKEN
        n_out = resampler.n_ready(n_frames)
        if n_out * channels > _MOST_SAMPLES:
            return INTAKE_DECLINED
        decoder.decode(data, n_bytes, n_frames, decoded)
        resampler.resample(decoded, n_frames, n_frames, resampled, n_out)
        return INTAKE_WAITING if self.session.take_planes(resampled, n_out, n_out) else INTAKE_TAKEN
