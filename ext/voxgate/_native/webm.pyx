"""WebM and Matroska (RFC 9559) as they arrive: the packets of the first audio track with Opus or FLAC. No I/O, no clock.

Segments and clusters may be of unknown size, as browsers record them. Every other element is skipped as it comes; what
is kept at a time is one block of the chosen track.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from .ebml cimport ebml_big, ebml_length
from .webm_block cimport WEBM_PACKET, WebmBlock

cdef enum:
    _VOID = 0xEC
    _CRC = 0xBF
    _INFO = 0x1549A966
    _SCALE = 0x2AD7B1
    _TRACKS = 0x1654AE6B
    _TRACK = 0xAE
    _TRACK_NUMBER = 0xD7
    _TRACK_TYPE = 0x83
    _CODEC = 0x86
    _PRIVATE = 0x63A2
    _CODEC_DELAY = 0x56AA
    _ENCODINGS = 0x6D80
    _AUDIO = 0xE1
    _SAMPLING = 0xB5
    _CHANNELS = 0x9F
    _CLUSTER = 0x1F43B675
    _CLUSTER_TIME = 0xE7
    _SIMPLE_BLOCK = 0xA3
    _GROUP = 0xA0
    _BLOCK = 0xA1
    _DISCARD = 0x75A2

    _AUDIO_TRACK = 2

    _MAX_BLOCK_BYTES = 1 << 19
    _MAX_PRIVATE_BYTES = 1 << 16
    _MAX_SKIPPED_BYTES = 1 << 26
    _MAX_TRACKS = 64

cdef uint64_t _EBML = 0x1A45DFA3
cdef uint64_t _SEGMENT = 0x18538067
cdef uint64_t _NO_END = <uint64_t>-1

HEAD = 0
PACKET = WEBM_PACKET

MAX_BLOCK_BYTES = _MAX_BLOCK_BYTES
MAX_PRIVATE_BYTES = _MAX_PRIVATE_BYTES
MAX_SKIPPED_BYTES = _MAX_SKIPPED_BYTES
MAX_TRACKS = _MAX_TRACKS


cdef inline bint _is_top(uint64_t id) noexcept nogil:
    return (
        id == _CLUSTER or id == _INFO or id == _TRACKS
        or id == 0x114D9B74 or id == 0x1C53BB6B or id == 0x1941A469 or id == 0x1043A770 or id == 0x1254C367
    )


@cython.final
cdef class WebmDemuxer:
    """Returns the packets of one track of a WebM or Matroska stream, whose bytes may be cut anywhere.

    `feed` takes bytes; then `read` is called until it returns None:

    - (HEAD, codec, private, codec_delay_ns, sample_rate, channels): the track; ``codec`` is "opus" or "flac", ``private``
      the contents of CodecPrivate. Again when another stream follows the first one.
    - (PACKET, data, pos, duration, gap, trim_begin, trim_end): when the packet begins, in samples at 48 kHz, and how long
      it is; ``gap``: so many samples between the packet before and this one are missing; ``trim_begin``, ``trim_end``: so
      many at either end of this packet are not part of the audio (DiscardPadding). All but ``pos`` are 0 for FLAC, whose
      frames have numbers.

    Packets that are no valid Opus are left out and become part of a gap.

    ``error``: None, or (kind, text): "broken", "unsupported" or "limit"; `read` returns everything before it first, and
    None from then on. ``n_parts``: elements and packets so far.

    Memory: one block of at most MAX_BLOCK_BYTES. Threads: one caller at a time; the GIL is kept.
    """

    def __cinit__(self):
        self._block = WebmBlock()

    def __dealloc__(self):
        PyMem_RawFree(self._buffer)

    def __reduce__(self):
        raise TypeError("a WebmDemuxer belongs to one stream and cannot be pickled or copied")

    def feed(self, bytes data not None):
        """The next bytes, any number of them. ValueError unless `read` returned None since the last ones."""
        if (self._left > 0 or self._block.next_frame < self._block.n_frames) and self.error is None:
            raise ValueError("read() until it returns None before the next feed()")
        self._input = data
        self._data = <const uint8_t *>PyBytes_AS_STRING(data)
        self._left = len(data)

    def read(self):
        """The next event, or None: more bytes are needed, or ``error`` is set."""
        while True:
            if self._block.next_frame < self._block.n_frames:
                event = self._block.next()
            elif self.error is not None:
                break
            else:
                event = self._close()
                if event is None and self.error is None and self._block.next_frame == self._block.n_frames:
                    if self._left == 0:
                        break
                    event = self._step()
            if event is not None:
                return event
        self._input = None
        self._left = 0
        return None

    def end(self):
        """No more bytes follow: `read` returns the block of a group that is not complete."""
        if self.error is None and self._depth > 0 and self._masters[self._depth - 1] == _GROUP and self._has_block:
            self._has_block = False
            if self._id == 0 or not self._is_kept:
                self._open_block()

    @property
    def is_truncated(self):
        """If the stream ends here, it ends inside of an element whose size is known, or before there is a track."""
        cdef int index
        if self._n_head > 0 or self._id != 0 or not self._has_tracks:
            return True
        for index in range(self._depth):
            if self._ends[index] != _NO_END and self._ends[index] > self._at:
                return True
        return False

    # Closes the elements that end here.
    cdef object _close(self):
        cdef uint64_t master
        while self._id == 0 and self._n_head == 0 and self._depth > 0 and self._at >= self._ends[self._depth - 1]:
            self._depth -= 1
            master = self._masters[self._depth]
            if master == _TRACK:
                self._choose()
            elif master == _TRACKS:
                self._has_tracks = True
                if self._chosen is None:
                    self._fail("unsupported", f"a WebM or Matroska file with {self._codecs or 'no tracks'}")
                else:
                    return self._chosen
            elif master == _GROUP and self._has_block:
                self._open_block()
            if self.error is not None or self._block.next_frame < self._block.n_frames:
                break
        return None

    # As much of one head, or of one element, as there is.
    cdef object _step(self):
        cdef int n
        cdef uint64_t size
        if self._id != 0:
            self._take()
            return self._end_element() if self._size_left == 0 and self.error is None else None
        self._head[self._n_head] = self._data[0]
        self._n_head += 1
        self._data += 1
        self._left -= 1
        self._at += 1
        n = ebml_length(self._head[0])
        if n == 0 or n > 4:
            self._fail("broken", f"no EBML element at byte {self._at - self._n_head}")
            return None
        if self._n_head <= n:
            return None
        if ebml_length(self._head[n]) == 0:
            self._fail("broken", f"the size of the element at byte {self._at - self._n_head} is invalid")
            return None
        if self._n_head < n + ebml_length(self._head[n]):
            return None
        return self._begin()

    # An element begins: is it entered, kept or skipped?
    cdef object _begin(self):
        cdef int n_id = ebml_length(self._head[0]), n_size = ebml_length(self._head[n_id])
        cdef uint64_t id = ebml_big(self._head, n_id), size = ebml_big(self._head + n_id, n_size), parent, end = _NO_END
        cdef uint64_t begin = self._at - self._n_head
        cdef bint is_unknown, is_master
        size &= (<uint64_t>1 << 7 * n_size) - 1
        is_unknown = size == (<uint64_t>1 << 7 * n_size) - 1
        self._n_head = 0
        self.n_parts += 1
        while self._depth > 0 and self._is_open[self._depth - 1] and (
            id == _EBML or id == _SEGMENT or (_is_top(id) and self._masters[self._depth - 1] == _CLUSTER)
        ):
            self._depth -= 1
        parent = self._masters[self._depth - 1] if self._depth > 0 else 0
        if self._depth > 0:
            end = self._ends[self._depth - 1]
        if not self._is_begun and id != _EBML:
            self._fail("broken", "the stream does not begin with an EBML head")
            return None
        if is_unknown and not (id == _SEGMENT and parent == 0 or id == _CLUSTER and parent == _SEGMENT):
            self._fail("broken", f"the element {id:X} at byte {begin} has no size")
            return None
        if not is_unknown and end != _NO_END and size > end - self._at:
            self._fail("broken", f"the element {id:X} at byte {begin} is longer than what contains it")
            return None
        if id == _EBML and parent == 0:
            self._is_begun = True
            self._block.is_placed = self._has_tracks = False
            self._chosen = None
            self._codecs = ""
            self._n_tracks = 0
            self._scale_ns = 1_000_000
        is_master = (
            id == _SEGMENT and parent == 0
            or parent == _SEGMENT and (id == _CLUSTER or id == _INFO or id == _TRACKS)
            or id == _TRACK and parent == _TRACKS
            or id == _AUDIO and parent == _TRACK
            or id == _GROUP and parent == _CLUSTER
        )
        if id == _CLUSTER and is_master and not self._has_tracks:
            self._fail("broken", "the stream has audio before its list of tracks")
            return None
        if id == _TRACKS and is_master and self._has_tracks:
            is_master = False  # the same again
        if is_master:
            self._masters[self._depth] = id
            self._ends[self._depth] = end if is_unknown else self._at + size
            self._is_open[self._depth] = is_unknown
            self._depth += 1
            if id == _TRACK:
                memset(&self._track, 0, sizeof(Track))
                self._track.channels = 1
                self._track.sample_rate = 8000
                self._codec = ""
                self._private = b""
                self._n_tracks += 1
                if self._n_tracks > _MAX_TRACKS:
                    self._fail("limit", f"a WebM or Matroska file with more than {_MAX_TRACKS} tracks")
            elif id == _GROUP:
                self._has_block = False
                self._discard_ns = 0
                self._buffer_bytes = 0
            elif id == _CLUSTER:
                self._cluster_time = 0
            return None
        self._id = id
        self._size_left = size
        self._is_skipped = self._is_kept = self._is_number = False
        if (
            parent == _TRACK and (id == _TRACK_NUMBER or id == _TRACK_TYPE or id == _CODEC_DELAY)
            or parent == _AUDIO and (id == _SAMPLING or id == _CHANNELS)
            or parent == _INFO and id == _SCALE
            or parent == _CLUSTER and id == _CLUSTER_TIME
            or parent == _GROUP and id == _DISCARD
        ):
            self._is_number = True
            self._number = 0
            self._number_bytes = <int>min(size, <uint64_t>9)
            if size > 8:
                self._fail("broken", f"the number {id:X} at byte {begin} has {size} bytes")
                return None
        elif parent == _TRACK and (id == _CODEC or id == _PRIVATE) and size <= _MAX_PRIVATE_BYTES:
            self._is_kept = True
            self._buffer_bytes = 0
        elif parent == _CLUSTER and id == _SIMPLE_BLOCK or parent == _GROUP and id == _BLOCK:
            if self._has_block and id == _BLOCK:
                self._fail("broken", f"a second block in the group at byte {begin}")
                return None
            self._is_kept = True
            self._buffer_bytes = 0
        else:
            if parent == _TRACK and id == _ENCODINGS:
                self._track.is_encoded = True
            self._is_skipped = True
            if size > _MAX_SKIPPED_BYTES:
                self._fail("limit", f"the element {id:X} at byte {begin} has {size} bytes")
                return None
        return self._end_element() if size == 0 else None

    # The next bytes of the element.
    cdef int _take(self) except -1:
        cdef Py_ssize_t n = self._left, index
        cdef int n_track = 0
        cdef bint is_block = self._is_kept and (self._id == _SIMPLE_BLOCK or self._id == _BLOCK)
        if self._size_left < <uint64_t>n:
            n = <Py_ssize_t>self._size_left
        if is_block:
            # The number of the track comes first, and decides whether this is kept.
            n_track = ebml_length(self._buffer[0] if self._buffer_bytes > 0 else self._data[0])
            if n_track == 0:
                return self._fail("broken", f"the block at byte {self._at} has no track")
            if self._buffer_bytes < n_track:
                n = min(n, n_track - self._buffer_bytes)
        if self._is_kept:
            self._keep(self._data, n)
        elif self._is_number:
            for index in range(n):
                self._number = self._number << 8 | self._data[index]
        self._data += n
        self._left -= n
        self._at += n
        self._size_left -= n
        if is_block and self._buffer_bytes == n_track:
            if ebml_big(self._buffer, n_track) & ((<uint64_t>1 << 7 * n_track) - 1) != self._chosen_number:
                self._is_kept = False
                self._is_skipped = True
                self._buffer_bytes = 0
                if self._size_left > _MAX_SKIPPED_BYTES:
                    return self._fail("limit", f"a block of {self._size_left} bytes at byte {self._at}")
            elif self._size_left > _MAX_BLOCK_BYTES:
                return self._fail("limit", f"a block of {self._size_left} bytes at byte {self._at}")
        return 0

    cdef object _end_element(self):
        cdef uint64_t id = self._id, number = self._number
        cdef int n = self._number_bytes
        cdef float single
        cdef uint32_t bits
        self._id = 0
        if self._is_number:
            if id == _TRACK_NUMBER:
                self._track.number = number
            elif id == _TRACK_TYPE:
                self._track.type = number
            elif id == _CODEC_DELAY:
                self._track.codec_delay_ns = number
            elif id == _CHANNELS:
                self._track.channels = number if n > 0 else 1
            elif id == _SAMPLING and n == 8:
                memcpy(&self._track.sample_rate, &number, 8)
            elif id == _SAMPLING and n == 4:
                bits = <uint32_t>number
                memcpy(&single, &bits, 4)
                self._track.sample_rate = single
            elif id == _SCALE:
                if number == 0 or number > 1_000_000_000:
                    self._fail("broken", f"the unit of the timestamps is {number} ns")
                else:
                    self._scale_ns = number
            elif id == _CLUSTER_TIME:
                self._cluster_time = number
            elif id == _DISCARD:
                self._discard_ns = <int64_t>number if n == 8 or number < <uint64_t>1 << max(0, 8 * n - 1) else (
                    <int64_t>(number - (<uint64_t>1 << 8 * n))
                )
        elif self._is_kept:
            if id == _CODEC:
                self._codec = PyBytes_FromStringAndSize(
                    <const char *>self._buffer, min(<Py_ssize_t>32, self._buffer_bytes)
                ).decode("ascii", "replace").rstrip("\0")
            elif id == _PRIVATE:
                self._private = PyBytes_FromStringAndSize(<const char *>self._buffer, self._buffer_bytes)
            elif id == _SIMPLE_BLOCK:
                self._discard_ns = 0
                self._open_block()
            elif id == _BLOCK:
                self._has_block = True
        return None

    # Memory grows with what has come, not with what a header announces.
    cdef int _keep(self, const uint8_t *data, Py_ssize_t n) except -1:
        cdef Py_ssize_t needed = self._buffer_bytes + n, capacity
        cdef uint8_t *buffer
        if n == 0:
            return 0
        if needed > self._buffer_capacity:
            capacity = max(needed, 2 * self._buffer_capacity)
            buffer = <uint8_t *>PyMem_RawRealloc(self._buffer, capacity)
            if buffer == NULL:
                raise MemoryError
            self._buffer, self._buffer_capacity = buffer, capacity
        memcpy(self._buffer + self._buffer_bytes, data, n)
        self._buffer_bytes = needed
        return 0

    # A track has been read: is it the one?
    cdef int _choose(self) except -1:
        cdef str codec = "opus" if self._codec == "A_OPUS" else "flac" if self._codec == "A_FLAC" else None
        if self._track.type == _AUDIO_TRACK and codec is not None and not self._track.is_encoded:
            if self._chosen is None or (codec == "opus" and not self._is_opus):
                self._is_opus = codec == "opus"
                self._chosen_number = self._track.number
                self._chosen = (
                    HEAD, codec, self._private, self._track.codec_delay_ns, self._track.sample_rate,
                    self._track.channels,
                )
        elif len(self._codecs) < 80:
            name = f"{self._codec} (compressed or encrypted)" if self._track.is_encoded else self._codec
            if name not in self._codecs:
                self._codecs += f"{', ' if self._codecs else ''}{name}"
        return 0

    # A block of the chosen track.
    cdef int _open_block(self) except -1:
        if self._buffer_bytes > 0:  # otherwise it is of another track
            self.n_parts += self._block.open(
                self._buffer, self._buffer_bytes, self._cluster_time, self._scale_ns, self._discard_ns, self._is_opus,
                self._at
            )
            if self._block.problem is not None:
                self._fail("broken", self._block.problem)
        return 0

    cdef int _fail(self, str kind, str text) except -1:
        self.error = (kind, text)
        return 0
