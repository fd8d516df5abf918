"""The blocks of one track of WebM or Matroska (RFC 9559, section 10): their frames, and where these lie in time."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int64_t, uint8_t, uint64_t

cimport cython

from .ebml cimport ebml_big, ebml_length
from .opus cimport OPUS_MOST_GAP, opus_samples

cdef enum:
    # Timestamps are rounded, mostly to milliseconds, and those of live recordings jitter: a packet is missing when its
    # time is, less 2 ms. Opus has frames of 2.5 ms.
    _ROUNDING = 96
    _LEAST_GAP = 960
    _UNIT = 120
    _MOST_AHEAD = 9_600
    _MOST_BACK = 48_000


@cython.final
cdef class WebmBlock:
    """Returns the packets of one block after the other, for `webm.WebmDemuxer`, which describes them.

    Threads: one caller at a time; the GIL is kept.
    """

    def __reduce__(self):
        raise TypeError("a WebmBlock belongs to one stream and cannot be pickled or copied")

    cdef int open(
        self, const uint8_t *data, Py_ssize_t n, uint64_t cluster_time, uint64_t scale_ns, int64_t discard_ns,
        bint is_opus, uint64_t at
    ) except -1:
        cdef int n_track = ebml_length(data[0]), n_frames
        cdef int64_t time
        self._at = at
        self._is_opus = is_opus
        if n < n_track + 3:
            return self._fail(f"a block of {n} bytes before byte {at}")
        if cluster_time > (<uint64_t>1 << 59) // scale_ns:
            return self._fail(f"the time of the cluster before byte {at} is out of range")
        time = <int64_t>cluster_time + <int16_t>(data[n_track] << 8 | data[n_track + 1])
        self._lace(data + n_track + 3, n - n_track - 3, data[n_track + 2] >> 1 & 3)
        if self.problem is not None:
            return 0
        n_frames = self.n_frames
        # To samples at 48 kHz, rounded.
        time = time * <int64_t>scale_ns
        self._place((time * 6 + (62_500 if time >= 0 else -62_500)) // 125_000, discard_ns)
        return n_frames

    cdef int _lace(self, const uint8_t *data, Py_ssize_t n, int lacing) except -1:
        cdef Py_ssize_t at = 0, total = 0
        cdef int n_frames = 1, index, n_bytes
        cdef int64_t size = 0
        self.n_frames = self.next_frame = 0
        if lacing != 0:
            if n < 1:
                return self._fail(f"a block without frames before byte {self._at}")
            n_frames = data[0] + 1
            at = 1
        for index in range(n_frames - 1):
            if lacing == 1:
                size = 0
                while True:
                    if at >= n:
                        return self._fail(f"the lacing before byte {self._at} is invalid")
                    size += data[at]
                    at += 1
                    if data[at - 1] < 255:
                        break
            elif lacing == 3:
                n_bytes = ebml_length(data[at]) if at < n else 0
                if n_bytes == 0 or at + n_bytes > n:
                    return self._fail(f"the lacing before byte {self._at} is invalid")
                if index == 0:
                    size = <int64_t>(ebml_big(data + at, n_bytes) & ((<uint64_t>1 << 7 * n_bytes) - 1))
                else:
                    size += (
                        <int64_t>(ebml_big(data + at, n_bytes) & ((<uint64_t>1 << 7 * n_bytes) - 1))
                        - ((<int64_t>1 << 7 * n_bytes - 1) - 1)
                    )
                at += n_bytes
            elif lacing == 2:
                size = (n - 1) // n_frames
            if size < 0 or size > n or total + size > n:
                return self._fail(f"the lacing before byte {self._at} is invalid")
            self._frame_bytes[index] = size
            total += size
        if at + total > n or (lacing == 2 and (n - 1) % n_frames != 0):
            return self._fail(f"the lacing before byte {self._at} is invalid")
        self._frame_bytes[n_frames - 1] = n - at - total
        self._frame = data + at
        self.n_frames = n_frames
        return 0

    # Is there something missing between the block before and this one?
    cdef int _place(self, int64_t pos, int64_t discard_ns) except -1:
        cdef int64_t jump, samples = 0, used
        cdef const uint8_t *frame = self._frame
        cdef int index, duration, last = 0
        self._pos = pos
        self._gap = self._trim_begin = self._trim_end = 0
        if not self._is_opus:
            return 0
        for index in range(self.n_frames):
            duration = opus_samples(frame, self._frame_bytes[index])
            frame += self._frame_bytes[index]
            samples += duration
            if duration > 0:
                last = duration
        if samples == 0:
            return 0
        if self.is_placed:
            jump = pos - self._last_pos - self._last_samples
            if jump < -_MOST_BACK or jump > OPUS_MOST_GAP:
                self.n_frames = self.next_frame = 0
                return self._fail(
                    f"the time of the audio jumps by {<double>jump / 48_000:.3f} s before byte {self._at}"
                )
            if jump < 0:
                self._ahead = min(self._ahead - jump, <int64_t>_MOST_AHEAD)
            else:
                used = min(self._ahead, jump)
                self._ahead -= used
                jump -= used
                if jump >= max(self._last_duration, _LEAST_GAP) - _ROUNDING:
                    # A whole number of packets, if it is nearly one.
                    duration = max(self._last_duration, _UNIT)
                    used = (jump + duration // 2) // duration * duration
                    if not -_ROUNDING <= jump - used <= _ROUNDING:
                        used = (jump + _UNIT // 2) // _UNIT * _UNIT
                    self._gap = used
        else:
            self._ahead = 0
        self.is_placed = True
        self._last_pos = pos
        self._last_samples = samples
        self._last_duration = last
        # In ns to samples at 48 kHz.
        used = max(-(<int64_t>10_000_000_000), min(discard_ns, <int64_t>10_000_000_000))
        if used > 0:
            self._trim_end = min((used * 6 + 62_500) // 125_000, samples)
        elif used < 0:
            self._trim_begin = min((-used * 6 + 62_500) // 125_000, samples)
        self._block_end = pos + samples
        return 0

    cdef object next(self):
        cdef Py_ssize_t n = self._frame_bytes[self.next_frame]
        cdef const uint8_t *frame = self._frame
        cdef int64_t pos = self._pos, gap = self._gap, begin, end
        cdef int duration
        self._frame += n
        self.next_frame += 1
        if not self._is_opus:
            return (WEBM_PACKET, PyBytes_FromStringAndSize(<const char *>frame, n), pos, 0, 0, 0, 0) if n > 0 else None
        duration = opus_samples(frame, n)
        if duration == 0:
            return None
        self._pos += duration
        self._gap = 0
        begin = min(<int64_t>duration, self._trim_begin)
        self._trim_begin -= begin
        end = min(<int64_t>duration - begin, max(<int64_t>0, self._pos - (self._block_end - self._trim_end)))
        return (WEBM_PACKET, PyBytes_FromStringAndSize(<const char *>frame, n), pos, duration, gap, begin, end)

    cdef int _fail(self, str problem) except -1:
        self.problem = problem
        return 0
