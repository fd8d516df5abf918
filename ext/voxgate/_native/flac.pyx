"""FLAC (RFC 9639) as it arrives: a frame is decoded when its last byte is there. No I/O, no clock.

The end of a frame is where its CRC is 0: nothing of the next one is needed.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove

cdef enum:
    _BEGIN = 0
    _MAGIC = 1
    _BLOCK = 2
    _INFO = 3
    _SKIP = 4
    _FRAME = 5

    _INFO_BYTES = 34
    # In a valid frame, the CRC is 0 before its end once in 65536 bytes.
    _MAX_TRIES = 32
    # A try of so many samples takes a millisecond or more.
    _LONG_TRY = 16_384
    _MAX_METADATA_BLOCKS = 1024

flac_fill_tables()


@cython.final
cdef class FlacDecoder:
    """Decodes FLAC, whose bytes may be cut anywhere, or which comes frame by frame from another container.

    A stream: `feed` takes bytes; then `read` is called until it returns None; it returns the samples of one frame, bytes,
    interleaved: s16 when ``bits`` is at most 16, else f32 of full scale -1..1; or no bytes after a longer try
    to decode a frame that is not complete. ID3 tags before the stream are skipped.

    From another container: `begin` takes STREAMINFO, then `decode` takes whole frames.

    ``rate`` in Hz, ``channels`` and ``bits``: of STREAMINFO, 0 before it is read; all frames must have them. ``pos``:
    samples of each channel so far; ``total``: of the whole stream as STREAMINFO says, 0 if it does not. ``gap``: so many
    samples are missing before the last frame that was returned.

    ``error``: None, or (kind, text): "broken", "unsupported" or "limit"; `read` returns everything before it first, and
    None from then on, and `decode` returns None.

    Memory: one frame, and its samples. Threads: one caller at a time; the GIL is kept.
    """

    def __dealloc__(self):
        PyMem_RawFree(self._buffer)
        PyMem_RawFree(self._planes)

    def __reduce__(self):
        raise TypeError("a FlacDecoder belongs to one stream and cannot be pickled or copied")

    @property
    def rate(self):
        return self._info.rate

    @property
    def channels(self):
        return self._info.channels

    @property
    def bits(self):
        return self._info.bits

    @property
    def is_truncated(self):
        """If the stream ends here, it ends inside of its head or a frame, or before as many samples as it announced."""
        return self._state != _FRAME or self._buffer_bytes > 0 or self.pos < self.total

    def begin(self, bytes info not None):
        """STREAMINFO, 34 bytes. ValueError for another length."""
        if len(info) != _INFO_BYTES:
            raise ValueError(f"STREAMINFO has {_INFO_BYTES} bytes, got {len(info)}")
        self._read_info(<const uint8_t *>PyBytes_AS_STRING(info))
        self._state = _FRAME

    def decode(self, bytes frame not None):
        """The samples of a whole frame; None and ``error`` when it is damaged. RuntimeError before `begin`."""
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(frame)
        cdef Py_ssize_t n = len(frame), index
        cdef int size
        if self._state != _FRAME:
            raise RuntimeError("begin() must be called first")
        if self.error is not None:
            return None
        self._crc = 0
        for index in range(n):
            self._crc = flac_crc16(self._crc, data[index])
        size = flac_read_head(data, n, &self._info, &self._head)
        if size == FLAC_UNSUPPORTED:
            self._fail("unsupported", f"FLAC with {self._head.bits} bits per sample; at most 24 are supported")
            return None
        if size <= 0 or self._crc != 0:
            self._fail("broken", f"the FLAC frame after sample {self.pos} is damaged")
            return None
        samples = self._emit(data, n)
        if samples is None and self.error is None:
            self._fail("broken", f"the FLAC frame after sample {self.pos} is damaged")
        return samples

    def feed(self, bytes data not None):
        """The next bytes, any number of them. ValueError unless `read` returned None since the last ones."""
        if self._left > 0 and self.error is None:
            raise ValueError("read() until it returns None before the next feed()")
        self._input = data
        self._data = <const uint8_t *>PyBytes_AS_STRING(data)
        self._left = len(data)

    def read(self):
        """The samples of the next frame, or None: more bytes are needed, or ``error`` is set."""
        while self.error is None and self._left > 0:
            if self._state == _FRAME:
                samples = self._frame()
                if samples is not None:
                    return samples
            else:
                self._step()
        self._input = None
        self._left = 0
        return None

    cdef int _reserve(self, Py_ssize_t needed) except -1:
        cdef Py_ssize_t capacity
        cdef uint8_t *buffer
        if needed > self._buffer_capacity:
            capacity = max(needed, 2 * self._buffer_capacity)
            buffer = <uint8_t *>PyMem_RawRealloc(self._buffer, capacity)
            if buffer == NULL:
                raise MemoryError
            self._buffer, self._buffer_capacity = buffer, capacity
        return 0

    # Whether so many bytes are in the buffer now.
    cdef bint _collect(self, Py_ssize_t wanted) except -1:
        cdef Py_ssize_t take = min(wanted - self._buffer_bytes, self._left)
        if take > 0:
            self._reserve(self._buffer_bytes + take)
            memcpy(self._buffer + self._buffer_bytes, self._data, take)
            self._buffer_bytes += take
            self._data += take
            self._left -= take
            self._at += take
        return self._buffer_bytes >= wanted

    # What comes before the frames.
    cdef int _step(self) except -1:
        cdef Py_ssize_t take
        cdef int kind
        if self._state == _SKIP:
            take = min(self._skip_left, self._left)
            self._data += take
            self._left -= take
            self._at += take
            self._skip_left -= take
            if self._skip_left == 0:
                self._state = _FRAME if self._is_last else _BLOCK if self._n_blocks > 0 else _BEGIN
            return 0
        if self._state == _BEGIN:
            if not self._collect(4):
                return 0
            if memcmp(self._buffer, b"ID3", 3) == 0:
                if not self._collect(10):
                    return 0
                self._skip_left = (
                    (self._buffer[6] & 127) << 21 | (self._buffer[7] & 127) << 14
                    | (self._buffer[8] & 127) << 7 | (self._buffer[9] & 127)
                )
                self._state = _SKIP if self._skip_left > 0 else _BEGIN
            elif memcmp(self._buffer, b"fLaC", 4) == 0:
                self._state = _BLOCK
            else:
                return self._fail("broken", f"a FLAC stream begins with fLaC, got {self._buffer[:4]!r}")
            self._buffer_bytes = 0
            return 0
        if self._state == _BLOCK:
            if not self._collect(4):
                return 0
            self._buffer_bytes = 0
            kind = self._buffer[0] & 127
            self._is_last = self._buffer[0] >= 128
            self._skip_left = self._buffer[1] << 16 | self._buffer[2] << 8 | self._buffer[3]
            self._n_blocks += 1
            if (self._n_blocks == 1) != (kind == 0) or (kind == 0 and self._skip_left != _INFO_BYTES) or kind == 127:
                return self._fail("broken", "a FLAC stream without a valid STREAMINFO")
            if self._n_blocks > _MAX_METADATA_BLOCKS:
                return self._fail("limit", f"a FLAC stream with more than {_MAX_METADATA_BLOCKS} blocks of metadata")
            self._state = _INFO if kind == 0 else _SKIP
            if self._state == _SKIP and self._skip_left == 0:
                self._state = _FRAME if self._is_last else _BLOCK
            return 0
        if not self._collect(_INFO_BYTES):
            return 0
        self._buffer_bytes = 0
        self._state = _FRAME if self._is_last else _BLOCK
        return self._read_info(self._buffer)

    cdef int _read_info(self, const uint8_t *data) except -1:
        cdef int smallest = data[0] << 8 | data[1], largest = data[2] << 8 | data[3]
        self._info.block = largest if smallest == largest else 0
        self._info.rate = data[10] << 12 | data[11] << 4 | data[12] >> 4
        self._info.channels = (data[12] >> 1 & 7) + 1
        self._info.bits = ((data[12] & 1) << 4 | data[13] >> 4) + 1
        self.total = <long long>(data[13] & 15) << 32 | <long long>data[14] << 24 | data[15] << 16 | data[16] << 8 | data[17]
        if self._info.bits > 24:
            return self._fail(
                "unsupported", f"FLAC with {self._info.bits} bits per sample; at most 24 are supported"
            )
        if self._info.rate == 0 or self._info.bits < 4:
            return self._fail("broken", "a FLAC stream without a valid STREAMINFO")
        return 0

    # The longest that this frame may be: its samples as they are.
    cdef Py_ssize_t _most_bytes(self) noexcept:
        return (<Py_ssize_t>self._head.samples * (self._head.bits + 1) // 8 + 64) * self._head.channels + 64

    cdef object _frame(self):
        cdef int size
        cdef uint8_t byte
        while self._left > 0:
            if self._buffer_bytes == 0:
                self._crc = 0
                self._has_head = False
                self._n_tries = 0
                if self.total > 0 and self.pos >= self.total:  # tags behind the last frame
                    self._left = 0
                    return None
            byte = self._data[0]
            self._reserve(self._buffer_bytes + 1)
            self._buffer[self._buffer_bytes] = byte
            self._buffer_bytes += 1
            self._crc = flac_crc16(self._crc, byte)
            self._data += 1
            self._left -= 1
            self._at += 1
            if not self._has_head:
                size = flac_read_head(self._buffer, self._buffer_bytes, &self._info, &self._head)
                if size == FLAC_UNSUPPORTED:
                    self._fail("unsupported", f"FLAC with {self._head.bits} bits per sample; at most 24 are supported")
                    return None
                if size < 0:
                    self._fail("broken", f"no FLAC frame at byte {self._at - self._buffer_bytes}")
                    return None
                self._has_head = size > 0
                continue
            if self._crc == 0 and self._buffer_bytes > self._head.head_bytes + 2:
                samples = self._emit(self._buffer, self._buffer_bytes)
                if samples is not None:
                    self._buffer_bytes = 0
                    return samples
                self._n_tries += 1
                if (
                    self.error is None and self._n_tries <= _MAX_TRIES
                    and <Py_ssize_t>self._head.samples * self._head.channels > _LONG_TRY
                ):
                    return b""
            if self.error is None and (
                self._n_tries > _MAX_TRIES or self._buffer_bytes > self._most_bytes()
            ):
                self._fail("broken", f"the FLAC frame at byte {self._at - self._buffer_bytes} is damaged")
            if self.error is not None:
                return None
        return None

    # The samples of the frame that these bytes are; None: they are not all of it.
    cdef object _emit(self, const uint8_t *data, Py_ssize_t n):
        cdef Py_ssize_t needed = <Py_ssize_t>self._head.samples * self._head.channels
        cdef int32_t *planes
        cdef int64_t size, pos
        if (
            self._head.channels != self._info.channels or self._head.rate != self._info.rate
            or self._head.bits != self._info.bits
        ):
            self._fail("unsupported", f"a FLAC stream whose format changes after sample {self.pos}")
            return None
        if needed > self._planes_capacity:
            planes = <int32_t *>PyMem_RawRealloc(self._planes, needed * sizeof(int32_t))
            if planes == NULL:
                raise MemoryError
            self._planes, self._planes_capacity = planes, needed
        size = flac_decode(data, n, &self._head, self._planes)
        if size == FLAC_NEEDS_MORE:
            return None
        if size != n:
            self._fail("broken", f"the FLAC frame after sample {self.pos} is damaged")
            return None
        self.gap = 0
        if self._head.is_variable or self._info.block > 0:
            pos = <int64_t>self._head.number * (1 if self._head.is_variable else self._info.block)
            if self._is_placed and pos > self.pos:
                self.gap = pos - self.pos
                if self.gap > 60 * <int64_t>self._info.rate:
                    self._fail("broken", f"the FLAC stream jumps by {self.gap // self._info.rate} s")
                    return None
                self.pos = pos
        self._is_placed = True
        self.pos += self._head.samples
        out = PyBytes_FromStringAndSize(NULL, needed * (2 if self._head.bits <= 16 else 4))
        flac_interleave(&self._head, self._planes, PyBytes_AS_STRING(out))
        return out

    cdef int _fail(self, str kind, str text) except -1:
        self.error = (kind, text)
        return 0
