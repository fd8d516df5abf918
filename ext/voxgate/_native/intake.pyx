"""The way of live audio in one call: PCM bytes, decoded, resampled, into the rings of a VadSession."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE

from .pcm cimport PcmDecoder
from .resample cimport Resampler
from .session cimport VadSession
from .types cimport pos_t, sample_t

TAKEN = INTAKE_TAKEN
WAITING = INTAKE_WAITING
DECLINED = INTAKE_DECLINED

# Decoded and resampled samples lie on the stack (80 KiB): 100 ms of two channels at 48 kHz have room.
cdef enum:
    _MOST_SAMPLES = 10240


@cython.final
cdef class Intake:
    """What `decoder.push`, `resampler.push` and `session.take` do one after the other, without an array in between.

    ``decoder``, ``resampler`` (None: the rates are equal) and ``session`` are those of one stream, with as many channels
    each (ValueError); whoever calls them directly, too, finds them in the state that the same bytes would have given.

    ``due_frames``: once so many frames have been received, `take` declines (the caller wants to look at the clock).
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
        """Take ``data``, bytes of any length, cut anywhere. WAITING: there is something for `step_sessions`, as when
        `VadSession.take` says True; TAKEN: nothing yet. DECLINED: nothing was taken, because it is too much at once,
        not bytes, or ``due_frames`` is reached; the caller pushes it itself. Errors as `VadSession.take`.
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
        if decoder.received_frames >= self.due_frames:
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
