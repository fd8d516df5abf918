"""FLAC (RFC 9639) as it arrives: a frame is decoded when its last byte is there. No I/O, no clock.

The end of a frame is where its CRC is 0: nothing of the next one is needed. Behind a damaged frame, decoding goes on at
the next valid head; the numbers of the frames say how much is missing.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

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
    # A stream ends when so many bytes are no frame; each byte of a valid one makes up for 16.
    _MAX_VAIN = 1 << 22
    _VAIN_PER_VALID = 16
    # The bytes of a frame that may be checked in vain before others run.
    _LONG_SEARCH = 65_536
    _MAX_GAP_S = 60
    _MOST_HEAD_BYTES = 16
    # So many samples, or bytes, are one part of work that gave no audio.
    _PART = 1_024

cdef int64_t _NO_POS = -(<int64_t>1 << 62)

flac_fill_tables()


@cython.final
cdef class FlacDecoder:
    """Decodes FLAC, whose bytes may be cut anywhere, or which comes frame by frame from another container.

    A stream: `feed` takes bytes; then `read` is called until it returns None; it returns the samples of one frame, bytes,
    interleaved: s16 when ``bits`` is at most 16, else f32 of full scale -1..1; or no bytes after longer work that gave
    no frame. ID3 tags before the stream are skipped. After `end`, `read` returns what a damaged frame seemed to contain.

    From another container: `begin` takes STREAMINFO, then `decode` takes whole frames.

    ``rate`` in Hz, ``channels`` and ``bits``: of STREAMINFO, 0 before it is read; all frames must have them. ``pos``:
    samples of each channel so far; ``total``: of the whole stream as STREAMINFO says, 0 if it does not. ``gap``: so many
    samples are missing before the last frame that was returned. ``n_damaged``: places where frames were damaged.
    ``n_parts``: how much work there was that gave no audio: blocks of metadata, and what was checked in vain.

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
    def n_parts(self):
        return self._n_work + self._n_given_up // _PART

    @property
    def is_truncated(self):
        """If the stream ends here, it ends inside of its head or a frame, or before as many samples as it announced."""
        return (
            self._state != _FRAME or self._is_cut or self._buffer_bytes > self._begin or self.pos < self.total
        )

    def begin(self, bytes info not None):
        """STREAMINFO, 34 bytes. ValueError for another length."""
        if len(info) != _INFO_BYTES:
            raise ValueError(f"STREAMINFO has {_INFO_BYTES} bytes, got {len(info)}")
        self._read_info(<const uint8_t *>PyBytes_AS_STRING(info))
        self._state = _FRAME

    def decode(self, bytes frame not None):
        """The samples of a whole frame: silence when it is damaged, but not its head; None when that is damaged too, or
        ``error`` is set. RuntimeError before `begin`.
        """
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
            self._fail_depth()
            return None
        if size > 0 and self._crc == 0 and self._decode(data, n) == n:
            return self._emit(n)
        self._give_up(n + 1)
        if self.error is None and size > 0 and self._is_plausible():
            memset(self._planes, 0, self._reserve_planes() * sizeof(int32_t))
            return self._emit(0)
        return None

    def feed(self, bytes data not None):
        """The next bytes, any number of them. ValueError unless `read` returned None since the last ones."""
        if self._is_reading and self.error is None:
            raise ValueError("read() until it returns None before the next feed()")
        self._is_reading = True
        self._input = data
        self._data = <const uint8_t *>PyBytes_AS_STRING(data)
        self._left = len(data)

    def end(self):
        """No more bytes follow."""
        self._is_over = True
        self._was_lost = self._is_lost

    def read(self):
        """The samples of the next frame, or None: more bytes are needed, or ``error`` is set."""
        while self.error is None and self._state != _FRAME and self._left > 0:
            self._step()
        if self.error is None and self._state == _FRAME:
            if self._begin > 0 and self._left > 0:
                self._buffer_bytes -= self._begin
                memmove(self._buffer, self._buffer + self._begin, self._buffer_bytes)
                self._begin = 0
            self._collect(self._buffer_bytes + self._left)
            samples = self._frame()
            if samples is not None:
                return samples
            if self._was_lost and self.error is None:
                self._fail_lost()
        self._input = None
        self._left = 0
        self._is_reading = False
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
        return self._buffer_bytes >= wanted

    # What comes before the frames.
    cdef int _step(self) except -1:
        cdef Py_ssize_t take
        cdef int kind
        if self._state == _SKIP:
            take = min(self._skip_left, self._left)
            self._data += take
            self._left -= take
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
            self._n_work += 1
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
        cdef const uint8_t *data
        cdef int64_t size
        cdef uint8_t byte
        while self.error is None:
            if self._n_seen == 0:
                self._crc = 0
                self._has_head = False
                self._n_tries = 0
                self._next_head = -1
                if self.total > 0 and self.pos >= self.total:  # tags behind the last frame
                    self._begin = self._buffer_bytes
                    break
            if self._begin + self._n_seen == self._buffer_bytes:
                if not self._is_over or self._n_seen == 0:
                    break
                self._is_cut = True
                self._resync(1)
                continue
            if self._n_searched > _LONG_SEARCH:
                self._n_searched = 0
                return b""
            data = self._buffer + self._begin
            byte = data[self._n_seen]
            self._n_seen += 1
            self._crc = flac_crc16(self._crc, byte)
            if not self._has_head:
                size = flac_read_head(data, self._n_seen, &self._info, &self._head)
                if size == FLAC_UNSUPPORTED and not self._is_lost:
                    self._fail_depth()
                elif size < 0 or (size > 0 and self._is_lost and not self._is_plausible()):
                    self._resync(1)
                self._has_head = size > 0 and self._n_seen > 0
                continue
            if self._crc == 0 and self._n_seen > self._head.head_bytes + 2:
                size = self._decode(data, self._n_seen)
                if size == self._n_seen:
                    self._begin += size
                    self._n_seen = 0
                    self._is_cut = False
                    return self._emit(size)
                self._n_tries += 1
                self._n_work += 1 + <int64_t>self._head.samples * self._head.channels // _PART
                if size != FLAC_NEEDS_MORE or self._n_tries > _MAX_TRIES:
                    self._resync(1)
                    continue
                if <Py_ssize_t>self._head.samples * self._head.channels > _LONG_TRY:
                    return b""
            if self._n_seen > self._most_bytes():
                self._resync(1)
            elif self._next_head < 0:
                if byte & 0xFE == 0xF8 and data[self._n_seen - 2] == 0xFF:
                    self._next_head = self._n_seen - 2
            elif self._n_seen - self._next_head == _MOST_HEAD_BYTES:
                # The next frame begins, and this one is not complete.
                if self._is_next(data + self._next_head):
                    self._resync(self._next_head)
                self._next_head = -1
        return None

    # The frame at the beginning is damaged, or none: the next one may begin `at` bytes behind it, or later.
    cdef int _resync(self, Py_ssize_t at) except -1:
        cdef const uint8_t *data = self._buffer + self._begin
        cdef const uint8_t *found
        cdef Py_ssize_t n = self._buffer_bytes - self._begin
        while at < n:
            found = <const uint8_t *>memchr(data + at, 0xFF, n - at)
            if found == NULL:
                at = n
                break
            at = found - data
            if at + 1 == n or data[at + 1] & 0xFE == 0xF8:
                break
            at += 1
        self._give_up(max(at, self._n_seen))
        self._begin += at
        self._n_seen = 0
        return 0

    # So many bytes were checked, and are no valid frame.
    cdef int _give_up(self, int64_t n_bytes) except -1:
        self.n_damaged += not self._is_lost
        self._is_lost = True
        self._n_vain += n_bytes
        self._n_searched += n_bytes
        self._n_given_up += n_bytes
        if self._n_vain > _MAX_VAIN:
            self._fail_lost()
        return 0

    # Where the frame of this head begins, from the first frame of the stream on.
    cdef int64_t _pos_of(self, const flac_head *head) noexcept:
        if head.is_variable:
            return <int64_t>head.number - self._origin
        return <int64_t>head.number * self._info.block - self._origin if self._info.block > 0 else _NO_POS

    cdef bint _has_format(self, const flac_head *head) noexcept:
        return (
            head.channels == self._info.channels and head.rate == self._info.rate and head.bits == self._info.bits
        )

    # Whether the head of a frame behind damage is one: bytes that look like a head are not rare enough.
    cdef bint _is_plausible(self) noexcept:
        cdef int64_t pos = self._pos_of(&self._head)
        if not self._has_format(&self._head) or (self.total > 0 and pos >= self.total):
            return False
        return not self._is_placed or pos == _NO_POS or 0 <= pos - self.pos <= _MAX_GAP_S * <int64_t>self._info.rate

    # Whether the frame behind the one that is read begins here.
    cdef bint _is_next(self, const uint8_t *data) noexcept:
        cdef flac_head head
        return (
            flac_read_head(data, _MOST_HEAD_BYTES, &self._info, &head) > 0
            and self._has_format(&head)
            and head.is_variable == self._head.is_variable
            and head.number == self._head.number + (<uint64_t>self._head.samples if head.is_variable else 1)
        )

    # Room for the samples of the frame. Returns how many there are.
    cdef Py_ssize_t _reserve_planes(self) except -1:
        cdef Py_ssize_t needed = <Py_ssize_t>self._head.samples * self._head.channels
        cdef int32_t *planes
        if needed > self._planes_capacity:
            planes = <int32_t *>PyMem_RawRealloc(self._planes, needed * sizeof(int32_t))
            if planes == NULL:
                raise MemoryError
            self._planes, self._planes_capacity = planes, needed
        return needed

    # Decodes the frame at `data` into `_planes`. Returns as `flac_decode`.
    cdef int64_t _decode(self, const uint8_t *data, Py_ssize_t n) except? -7:
        self._reserve_planes()
        return flac_decode(data, n, &self._head, self._planes)

    # The samples of the frame in `_planes`, which has `n_bytes`; 0: it is damaged.
    cdef object _emit(self, Py_ssize_t n_bytes):
        cdef Py_ssize_t needed = <Py_ssize_t>self._head.samples * self._head.channels
        cdef int64_t pos, most = _MAX_GAP_S * <int64_t>self._info.rate
        if not self._has_format(&self._head):
            self._fail("unsupported", f"a FLAC stream whose format changes after sample {self.pos}")
            return None
        if self._info.block == 0 and not self._head.is_variable:
            self._info.block = self._head.samples
        self.gap = 0
        pos = self._pos_of(&self._head)
        if not self._is_placed and pos > 0 and (not self._is_lost or pos > most):
            self._origin, pos = pos, 0  # a live stream that was joined later
        if pos > self.pos:
            self.gap = pos - self.pos
            if self.gap > most:
                self._fail("broken", f"the FLAC stream jumps by {self.gap // self._info.rate} s")
                return None
            self.pos = pos
        self._is_placed = True
        if n_bytes > 0:
            self._is_lost = self._was_lost = False
            self._n_vain = max(<int64_t>0, self._n_vain - _VAIN_PER_VALID * n_bytes)
        self.pos += self._head.samples
        out = PyBytes_FromStringAndSize(NULL, needed * (2 if self._head.bits <= 16 else 4))
        flac_interleave(&self._head, self._planes, PyBytes_AS_STRING(out))
        return out

    cdef int _fail_lost(self) except -1:
        return self._fail("broken", f"no valid FLAC frame after sample {self.pos}")

    cdef int _fail_depth(self) except -1:
        return self._fail("unsupported", f"FLAC with {self._head.bits} bits per sample; at most 24 are supported")

    cdef int _fail(self, str kind, str text) except -1:
        self.error = (kind, text)
        return 0
