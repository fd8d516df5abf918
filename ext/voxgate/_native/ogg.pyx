"""Ogg (RFC 3533) as it arrives: the packets of its first Opus (RFC 7845) or FLAC stream. No I/O, no clock.

A page is checked (CRC) before its packets are returned, so that one page, at most 65 307 bytes, is held back. Pages of
other streams are skipped. A damaged page is lost: the granule position of the next one says how much is missing.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from .opus cimport OPUS_MOST_GAP, opus_samples

cdef enum:
    _HEAD_BYTES = 27
    _CONTINUED = 1
    _FIRST = 2
    _LAST = 4
    # A jump of less is how muxers round (2.5 ms when a page is lost, else 20 ms): Opus has no shorter frame.
    _ROUNDING = 120
    _LEAST_GAP = 960
    _MAX_PACKET_BYTES = 1 << 20
    _MAX_SKIPPED_BYTES = 1 << 20
    # For each byte of a valid page, so many may be checked that are none.
    _MAX_VAIN = 16
    # So many bytes of a page are as much work as one packet.
    _PART = 1_024

HEAD = 0
PACKET = 1

MAX_PACKET_BYTES = _MAX_PACKET_BYTES
MAX_SKIPPED_BYTES = _MAX_SKIPPED_BYTES

cdef uint32_t[256] _crc_table


cdef void _fill_table() noexcept:
    cdef uint32_t value
    cdef int index, bit
    for index in range(256):
        value = <uint32_t>index << 24
        for bit in range(8):
            value = value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)
        _crc_table[index] = value


_fill_table()


cdef uint32_t _crc(uint32_t crc, const uint8_t *data, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(n):
        crc = crc << 8 ^ _crc_table[(crc >> 24 ^ data[index]) & 0xFF]
    return crc


cdef inline uint64_t _little(const uint8_t *data, int n) noexcept nogil:
    cdef uint64_t value = 0
    cdef int index
    for index in range(n):
        value |= <uint64_t>data[index] << 8 * index
    return value


@cython.final
cdef class OggDemuxer:
    """Returns the packets of one stream of an Ogg file, whose bytes may be cut anywhere.

    `feed` takes bytes; then `read` is called until it returns None:

    - (HEAD, codec, packet): a stream begins, ``codec`` is "opus" or "flac", ``packet`` its first header. Again for each
      link of a chained file.
    - (PACKET, data, pos, duration, gap, trim_begin, trim_end): where the packet begins, in samples at 48 kHz from the
      beginning of the link, pre-skip included; how long it is; ``gap``: so many samples between the packet before and
      this one are lost; ``trim_end``: so many at the end of this packet are not part of the audio (``trim_begin`` is 0).
      All of them are 0 for FLAC, whose frames have numbers.

    Packets that are no valid Opus are left out and become part of a gap.

    ``error``: None, or (kind, text): "broken", "unsupported" or "limit"; `read` returns everything before it first, and
    None from then on. ``n_pages_lost``: pages of the stream that are missing or damaged, as far as their numbers tell.
    ``n_parts``: pages and packets so far, of other streams too.

    Memory: one page, and a packet that spans pages, of at most MAX_PACKET_BYTES.
    Threads: one caller at a time; the GIL is kept.
    """

    def __dealloc__(self):
        PyMem_RawFree(self._page)
        PyMem_RawFree(self._packet)

    def __reduce__(self):
        raise TypeError("an OggDemuxer belongs to one stream and cannot be pickled or copied")

    def feed(self, bytes data not None):
        """The next bytes, any number of them. ValueError unless `read` returned None since the last ones."""
        if self._left > 0 and self.error is None:
            raise ValueError("read() until it returns None before the next feed()")
        self._input = data
        self._data = <const uint8_t *>PyBytes_AS_STRING(data)
        self._left = len(data)

    def read(self):
        """The next event, or None: more bytes are needed, or ``error`` is set."""
        while self.error is None:
            if self._in_page:
                event = self._next_packet()
                if event is not None:
                    return event
                if self.error is None:
                    self._in_page = False
                    self._drop(self._page_size)
                continue
            if not self._fill():
                break
            event = self._open_page()
            if event is not None:
                return event
        self._input = None
        self._left = 0
        return None

    def end(self):
        """No more bytes follow: `read` returns the pages that a damaged one seemed to contain."""
        self._is_over = True

    @property
    def is_truncated(self):
        """If the stream ends here, it ends inside of a page or a packet, or before the headers are complete."""
        return (
            self._page_bytes > 0 or self._is_cut or self._in_packet
            or not self._is_selected or self._n_headers_left > 0
        )

    # Whether a whole page with a good CRC lies at the beginning of `_page`.
    cdef bint _fill(self) except -1:
        cdef Py_ssize_t needed, take, capacity
        cdef int index
        cdef uint8_t zeros[4]
        cdef uint32_t crc
        cdef uint8_t *page
        while self.error is None:
            if self._page_bytes >= 4 and memcmp(self._page, b"OggS", 4) != 0:
                self._resync()
                continue
            needed = _HEAD_BYTES
            if self._page_bytes >= needed:
                if self._page[4] != 0:
                    self._resync()
                    continue
                needed += self._page[26]
                if self._page_bytes >= needed:
                    for index in range(self._page[26]):
                        needed += self._page[_HEAD_BYTES + index]
                    if self._page_bytes >= needed:
                        zeros[0] = zeros[1] = zeros[2] = zeros[3] = 0
                        crc = _crc(_crc(0, self._page, 22), zeros, 4)
                        if _crc(crc, self._page + 26, needed - 26) != _little(self._page + 22, 4):
                            # Heads of pages may overlap: without a bound, each byte would be checked many times.
                            self._n_vain += self._page_bytes
                            if self._n_vain > _MAX_SKIPPED_BYTES:
                                self._fail("broken", "too many Ogg pages with a wrong CRC")
                                return False
                            self._resync()
                            continue
                        self._page_size = needed
                        self._n_skipped = 0
                        self.n_parts += 1 + needed // _PART
                        self._n_vain = max(<int64_t>0, self._n_vain - _MAX_VAIN * needed)
                        self._is_cut = False
                        return True
            elif self._page_bytes < 4:
                needed = 4
            take = min(needed - self._page_bytes, self._left)
            if take == 0:
                if not self._is_over or self._page_bytes == 0:
                    return False
                self._is_cut = True
                self._resync()
                continue
            if needed > self._page_capacity:
                # Memory grows with what has come, not with what a header announces.
                capacity = max(self._page_bytes + take, min(needed, 2 * self._page_capacity))
                page = <uint8_t *>PyMem_RawRealloc(self._page, capacity)
                if page == NULL:
                    raise MemoryError
                self._page, self._page_capacity = page, capacity
            memcpy(self._page + self._page_bytes, self._data, take)
            self._page_bytes += take
            self._data += take
            self._left -= take
        return False

    # The page at the beginning is none, or damaged: the next one begins at the next "OggS".
    cdef int _resync(self) except -1:
        cdef Py_ssize_t at = 1
        cdef const uint8_t *found
        while at < self._page_bytes:
            found = <const uint8_t *>memchr(self._page + at, b"O", self._page_bytes - at)
            if found == NULL:
                at = self._page_bytes
                break
            at = found - self._page
            if memcmp(found, b"OggS\0", min(<Py_ssize_t>5, self._page_bytes - at)) == 0:
                break
            at += 1
        self._n_skipped += at
        self._drop(at)
        if self._n_skipped > _MAX_SKIPPED_BYTES:
            self._fail("broken", f"no valid Ogg page within {_MAX_SKIPPED_BYTES} bytes")
        return 0

    cdef int _drop(self, Py_ssize_t n) except -1:
        self._page_bytes -= n
        if self._page_bytes > 0:
            memmove(self._page, self._page + n, self._page_bytes)
        return 0

    # Decides about a valid page. Its packets follow if `_in_page`, otherwise it has been dropped.
    cdef object _open_page(self):
        cdef uint8_t flags = self._page[5]
        cdef int64_t granule = <int64_t>_little(self._page + 6, 8)
        cdef uint32_t serial = <uint32_t>_little(self._page + 14, 4)
        cdef uint32_t sequence = <uint32_t>_little(self._page + 18, 4)
        cdef int n_segments = self._page[26]
        cdef const uint8_t *body = self._page + _HEAD_BYTES + n_segments
        cdef Py_ssize_t n_body = self._page_size - _HEAD_BYTES - n_segments
        cdef bint is_lost = False
        if flags & _FIRST:
            if not self._in_heads:  # a new link
                self._is_link = self._in_heads = True
                self._is_selected = self._in_packet = self._is_placed = self._ended = False
                self._codecs = ""
            event = self._open_stream(serial, sequence, body, n_body)
            self._drop(self._page_size)
            return event
        if not self._is_link:
            self._fail("broken", "the Ogg stream does not begin with the first page of a stream")
            return None
        self._in_heads = False
        if not self._is_selected:
            self._fail("unsupported", f"an Ogg file with {self._codecs or 'no audio'}")
            return None
        if serial != self._serial or self._ended:
            self._drop(self._page_size)
            return None
        if sequence != self._sequence:
            if self._sequence - sequence < <uint32_t>0x80000000:  # again, or too late
                self._drop(self._page_size)
                return None
            is_lost = True
            self.n_pages_lost += <uint32_t>(sequence - self._sequence)
            if self._n_headers_left > 0:
                self._fail("broken", "a header of the Ogg stream is lost")
                return None
            self._in_packet = False
        self._sequence = sequence + 1
        self._drops_first = False
        if not flags & _CONTINUED:
            self._in_packet = False  # it has no end
        elif not self._in_packet:
            self._drops_first = True
        self._segment = 0
        self._at = _HEAD_BYTES + n_segments
        self._in_page = True
        self._ended = flags & _LAST != 0
        self._place(self._ended, granule, is_lost)
        return None

    cdef object _open_stream(self, uint32_t serial, uint32_t sequence, const uint8_t *head, Py_ssize_t n):
        cdef str codec, name
        if n >= 19 and memcmp(head, b"OpusHead", 8) == 0:
            codec = name = "opus"
        elif n >= 51 and memcmp(head, b"\x7fFLAC", 5) == 0:
            codec = name = "flac"
        else:
            codec = None
            name = (
                "Vorbis" if n >= 7 and memcmp(head, b"\x01vorbis", 7) == 0
                else "Theora" if n >= 7 and memcmp(head, b"\x80theora", 7) == 0
                else "Speex" if n >= 5 and memcmp(head, b"Speex", 5) == 0
                else "an unknown codec"
            )
        if codec is None or self._is_selected:
            if name not in self._codecs and len(self._codecs) < 80:
                self._codecs += f"{', ' if self._codecs else ''}{name}"
            return None
        self._is_selected = True
        self._serial = serial
        self._sequence = sequence + 1
        self._is_opus = codec == "opus"
        self._n_headers_left = 1 if self._is_opus else 0  # those of FLAC are recognised one by one
        self._pos = 0
        return (HEAD, codec, PyBytes_FromStringAndSize(<const char *>head, n))

    # Where the page's packets are: its granule position is that of the end of the last packet that ends in it.
    cdef int _place(self, bint is_last, int64_t granule, bint is_lost) except -1:
        cdef int segment, n_headers = self._n_headers_left
        cdef int64_t total = 0, jump
        cdef Py_ssize_t at = self._at, size = 0
        cdef bint goes_on = self._in_packet, is_dropped = self._drops_first
        cdef uint8_t first[2]
        cdef Py_ssize_t n_first
        self._gap = 0
        self._end = -1
        if not self._is_opus:
            return 0
        for segment in range(self._page[26]):
            size += self._page[_HEAD_BYTES + segment]
            if self._page[_HEAD_BYTES + segment] == 255:
                continue
            if is_dropped:
                is_dropped = False
            elif n_headers > 0:
                n_headers -= 1
            else:
                n_first = 0
                if goes_on:
                    n_first = min(<Py_ssize_t>2, self._packet_bytes)
                    memcpy(first, self._packet, n_first)
                if n_first < 2:
                    memcpy(first + n_first, self._page + at, min(2 - n_first, size))
                    n_first += min(2 - n_first, size)
                total += opus_samples(first, n_first)
            goes_on = False
            at += size
            size = 0
        if not 0 <= granule < <int64_t>1 << 62:
            self._is_placed = self._is_placed or total > 0
            return 0
        if not self._is_placed:
            if total == 0:
                return 0
            self._is_placed = True
            self._pos = max(<int64_t>0, granule - total)
            if is_last:
                self._end = granule
            return 0
        jump = granule - self._pos - total
        if jump > OPUS_MOST_GAP:
            return self._fail("broken", f"the Ogg stream jumps by {jump // 48_000} s")
        if jump >= (_ROUNDING if is_lost else _LEAST_GAP):
            self._gap = jump - jump % _ROUNDING
            self._pos += jump
        elif jump < 0 and is_last:
            self._end = granule
        elif jump > -_LEAST_GAP:
            self._pos += jump
        return 0

    cdef object _next_packet(self):
        cdef Py_ssize_t begin, size
        cdef bint is_complete
        cdef uint8_t lacing
        while self._segment < self._page[26]:
            begin = self._at
            size = 0
            is_complete = False
            while self._segment < self._page[26] and not is_complete:
                lacing = self._page[_HEAD_BYTES + self._segment]
                size += lacing
                is_complete = lacing < 255
                self._segment += 1
            self._at += size
            self.n_parts += 1
            if self._drops_first:
                self._drops_first = False
                continue
            if is_complete and not self._in_packet:
                event = self._emit(self._page + begin, size)
            else:
                self._append(self._page + begin, size)
                if self.error is not None or not is_complete:
                    return None
                self._in_packet = False
                event = self._emit(self._packet, self._packet_bytes)
            if event is not None:
                return event
        return None

    cdef int _append(self, const uint8_t *data, Py_ssize_t n) except -1:
        cdef Py_ssize_t capacity
        cdef uint8_t *packet
        if not self._in_packet:
            self._in_packet = True
            self._packet_bytes = 0
            self._is_discarded = self._n_headers_left > 0 or (not self._is_opus and n > 0 and data[0] != 0xFF)
        if self._is_discarded or n == 0:
            return 0
        if self._packet_bytes + n > _MAX_PACKET_BYTES:
            return self._fail("limit", f"an Ogg packet of more than {_MAX_PACKET_BYTES} bytes")
        if self._packet_bytes + n > self._packet_capacity:
            capacity = max(self._packet_bytes + n, 2 * self._packet_capacity)
            packet = <uint8_t *>PyMem_RawRealloc(self._packet, capacity)
            if packet == NULL:
                raise MemoryError
            self._packet, self._packet_capacity = packet, capacity
        memcpy(self._packet + self._packet_bytes, data, n)
        self._packet_bytes += n
        return 0

    cdef object _emit(self, const uint8_t *data, Py_ssize_t n):
        cdef int duration
        cdef int64_t gap = self._gap, trim = 0, pos = self._pos
        if self._n_headers_left > 0:
            self._n_headers_left -= 1
            return None
        if not self._is_opus:
            if n == 0 or data[0] != 0xFF:
                return None
            return (PACKET, PyBytes_FromStringAndSize(<const char *>data, n), 0, 0, 0, 0, 0)
        duration = opus_samples(data, n)
        if duration == 0:
            return None
        if self._end >= 0:
            trim = min(<int64_t>duration, max(<int64_t>0, pos + duration - self._end))
        self._pos += duration
        self._gap = 0
        return (PACKET, PyBytes_FromStringAndSize(<const char *>data, n), pos, duration, gap, 0, trim)

    cdef int _fail(self, str kind, str text) except -1:
        self.error = (kind, text)
        self._left = 0
        return 0
