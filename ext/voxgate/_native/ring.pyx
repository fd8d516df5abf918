"""The recent samples of one channel, addressed by absolute position since the start of the stream.

The samples lie in chunks of 512, a frame of the Silero detector, at positions that are multiples of 512. So memory
follows what is held to within two chunks, and each chunk that is given up fits the next one that is needed, of this
stream or of another: many streams that grow and shrink leave no holes in the heap. Nothing is moved.

A sample takes two bytes as long as all of them are whole numbers of 1/32768, which they are when 16-bit audio comes at
the rate of the detector. The first that is not makes the ring one of float32, for good. With 16 bits, chunks that are
full are packed: their samples take as many bits as the loudest of 128 needs, ten or so in speech. That is when samples
are given up, which follows each step of the detector: then it has read the chunk, and the chunk is in the cache.
Nothing else shows the difference: samples come back bit for bit.
"""

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int16_t, uint8_t, uintptr_t
from libc.string cimport memcpy, memmove

cimport numpy as cnp

from .isa cimport resolve

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "ring.h" nogil:
    bint vg_ring_narrow(const float *samples, Py_ssize_t n, int16_t *out)

cdef extern from "fetch.h" nogil:
    void vg_fetch(const void *data, int n_lines)

cdef extern from "ring_pack.h" nogil:
    enum:
        VG_PACK_BLOCK
        VG_PACK_BLOCKS
    void vg_pack_widths(const int16_t *samples, uint8_t *widths)
    Py_ssize_t vg_pack_bytes(const uint8_t *widths)
    void vg_pack(const int16_t *samples, const uint8_t *widths, unsigned char *out)

cdef extern from "ring_isa.h" nogil:
    const vg_ring_kernels *vg_ring_kernels_for(int isa)
    void vg_unpack(
        const vg_ring_kernels *kernels, const unsigned char *packed, Py_ssize_t first, Py_ssize_t n, float *out
    )

cnp.import_array()

# Samples of a chunk: with 16 bits 1 KiB, which glibc's cache of each thread takes and gives back.
cdef enum:
    _CHUNK = 512
if _CHUNK != VG_PACK_BLOCK * VG_PACK_BLOCKS:
    raise AssertionError(f"a packed chunk has {VG_PACK_BLOCK * VG_PACK_BLOCKS} samples, not {_CHUNK}")
# A chunk that takes more bytes than this is not packed.
cdef Py_ssize_t MOST_PACKED_BYTES = _CHUNK * sizeof(int16_t) // 8 * 7
# So many full chunks at the end are not packed by a push: they are about to be read.
cdef Py_ssize_t WAITING_CHUNKS = 8
# So many chunks are fetched into the cache before a read comes to them: one takes as long as some are unpacked.
cdef Py_ssize_t FETCHED_CHUNKS = 4
# A table of chunks has no fewer places than this.
cdef Py_ssize_t LEAST_PLACES = 8
# Sizes in bytes of so many samples, and of a table for them, cannot overflow.
cdef Py_ssize_t MAX_CAPACITY = PY_SSIZE_T_MAX // 8


cdef inline pos_t _position(object pos) except? -1:
    """A Python integer, and nothing that merely can be made one: Cython alone would cut 1.5 down to 1."""
    return PyNumber_Index(pos)


cdef inline const unsigned char *_packed(const char *chunk) noexcept nogil:
    """Where a packed chunk lies, whose pointer is odd; NULL for another."""
    return <const unsigned char *>(chunk - 1) if <uintptr_t>chunk & 1 else NULL


@cython.final
cdef class SampleRing:
    """A bounded buffer of float32 samples, addressed by absolute positions (64 bit; the first sample ever pushed is 0).

    ``capacity_samples``: how many samples it may hold, at least 1 (ValueError). Memory follows what is held, not the
    capacity: none before the first push, then at most the samples held and 1534 more, of two bytes while all samples so
    far are whole numbers of 1/32768, within -1..32767/32768, of four otherwise, and 64 bytes or 32 for every 512
    samples. Of 16 bits, samples take fewer where the audio is not loud, from the next `discard_before` on, or when 4096
    more have come.

    ``isa``: which kernels to use, of ``voxgate._native.isa.supported()``; None for the process-wide choice. ValueError
    for another. Results are the same.

    Threads: one caller at a time.
    """

    def __cinit__(self, Py_ssize_t capacity_samples, *, isa=None):
        if not 1 <= capacity_samples <= MAX_CAPACITY:
            raise ValueError(f"capacity_samples must be 1..{MAX_CAPACITY}, got {capacity_samples}")
        self.capacity = capacity_samples
        self._width = sizeof(int16_t)
        self._kernels = vg_ring_kernels_for(resolve(isa))

    def __dealloc__(self):
        cdef Py_ssize_t number
        for number in range(self._n_chunks):
            self._free_chunk(number)
        PyMem_RawFree(self._chunks)
        PyMem_RawFree(self._spare)

    def __reduce__(self):
        raise TypeError("a SampleRing belongs to one stream and cannot be pickled or copied")

    def __len__(self) -> int:
        """How many samples are held."""
        return <Py_ssize_t>(self.end_pos - self.start_pos)

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken for samples."""
        cdef Py_ssize_t spare = 0 if self._spare == NULL else _CHUNK * self._width
        return self._chunk_bytes + spare + self._n_places * <Py_ssize_t>sizeof(char *)

    # -- without the GIL ---------------------------------------------------------------------------------------------

    cdef int ring_push(self, const sample_t *samples, Py_ssize_t n) except -1 nogil:
        cdef Py_ssize_t held = <Py_ssize_t>(self.end_pos - self.start_pos)
        if n > self.capacity - held:
            with gil:
                raise BufferError(
                    f"ring is full: need room for {n} samples, have {self.capacity - held} of {self.capacity} free"
                )
        cdef Py_ssize_t first = <Py_ssize_t>(self.end_pos - self._chunks_pos)
        if first + n > self._n_chunks * _CHUNK:
            self._make_room(first + n)
        if self._width == sizeof(int16_t) and not self._store_whole(first, samples, n):
            self._widen()
        if self._width == sizeof(sample_t):
            self._store(first, samples, n)
        else:
            self._pack_until((first + n) // _CHUNK - WAITING_CHUNKS)
        self.end_pos += n
        return 0

    cdef void ring_fetch(self, int step) noexcept nogil:
        cdef Py_ssize_t first = <Py_ssize_t>(self.end_pos - self._chunks_pos)
        if first // _CHUNK < self._n_chunks:
            if step == 0:
                vg_fetch(self._chunks + first // _CHUNK, 1)
            else:
                vg_fetch(self._chunks[first // _CHUNK] + first % _CHUNK * self._width, 10)

    cdef int ring_read(self, pos_t start_pos, pos_t end_pos, sample_t *out) except -1 nogil:
        self._check(start_pos, end_pos)
        cdef Py_ssize_t at = <Py_ssize_t>(start_pos - self._chunks_pos), part
        cdef Py_ssize_t end = <Py_ssize_t>(end_pos - self._chunks_pos)
        cdef Py_ssize_t n_fetched = at // _CHUNK + 1
        cdef const char *chunk
        while at < end:
            chunk = self._chunks[at // _CHUNK]
            part = min(_CHUNK - at % _CHUNK, end - at)
            if self._width == sizeof(sample_t):
                memcpy(out, <const sample_t *>chunk + at % _CHUNK, part * sizeof(sample_t))
            else:
                while n_fetched < min(at // _CHUNK + FETCHED_CHUNKS, (end - 1) // _CHUNK) + 1:
                    vg_fetch(self._chunks[n_fetched], 11)
                    n_fetched += 1
                if _packed(chunk) != NULL:
                    vg_unpack(self._kernels, _packed(chunk), at % _CHUNK, part, out)
                else:
                    self._kernels.widen(<const int16_t *>chunk + at % _CHUNK, part, out)
            out += part
            at += part
        return 0

    cdef const sample_t *ring_view(self, pos_t start_pos, pos_t end_pos, sample_t *room) except NULL nogil:
        cdef Py_ssize_t first, last
        self._check(start_pos, end_pos)
        first = <Py_ssize_t>(start_pos - self._chunks_pos)
        last = <Py_ssize_t>(end_pos - self._chunks_pos) - 1
        if self._width == sizeof(sample_t) and last >= first and first // _CHUNK == last // _CHUNK:
            return <const sample_t *>self._chunks[first // _CHUNK] + first % _CHUNK
        self.ring_read(start_pos, end_pos, room)
        return room

    cdef int ring_discard_before(self, pos_t pos) except -1 nogil:
        cdef Py_ssize_t n_gone, number
        if pos > self.end_pos:
            with gil:
                raise IndexError(f"cannot discard before {pos}: held are samples {self.start_pos}..{self.end_pos}")
        if pos > self.start_pos:
            self.start_pos = pos
        n_gone = <Py_ssize_t>((self.start_pos - self._chunks_pos) // _CHUNK)
        if n_gone > 0:
            for number in range(n_gone):
                self._free_chunk(number)
            self._n_chunks -= n_gone
            self._n_looked_at = max(0, self._n_looked_at - n_gone)
            self._chunks_pos += n_gone * _CHUNK
            memmove(self._chunks, self._chunks + n_gone, self._n_chunks * sizeof(char *))
            if self._n_places > LEAST_PLACES and self._n_chunks < self._n_places // 4:
                self._resize_table(max(2 * self._n_chunks, LEAST_PLACES))
        if self._width == sizeof(int16_t):
            self._pack_until(<Py_ssize_t>(self.end_pos - self._chunks_pos) // _CHUNK)
        return 0

    cdef int _check(self, pos_t start_pos, pos_t end_pos) except -1 nogil:
        if start_pos < self.start_pos or end_pos > self.end_pos or start_pos > end_pos:
            with gil:
                raise IndexError(
                    f"asked for samples {start_pos}..{end_pos}, held are samples {self.start_pos}..{self.end_pos}"
                )
        return 0

    # n samples from the one at `first` on, counted from the first chunk's first. 0 when one of them is none of 16 bits.
    cdef bint _store_whole(self, Py_ssize_t first, const sample_t *samples, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t part
        while n > 0:
            part = min(_CHUNK - first % _CHUNK, n)
            if not vg_ring_narrow(samples, part, <int16_t *>self._chunks[first // _CHUNK] + first % _CHUNK):
                return False
            first += part
            samples += part
            n -= part
        return True

    cdef void _store(self, Py_ssize_t first, const sample_t *samples, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t part
        while n > 0:
            part = min(_CHUNK - first % _CHUNK, n)
            memcpy(<sample_t *>self._chunks[first // _CHUNK] + first % _CHUNK, samples, part * sizeof(sample_t))
            first += part
            samples += part
            n -= part

    cdef int _make_room(self, Py_ssize_t n) except -1 nogil:
        """Chunks for n samples in all. MemoryError, and nothing that shows has changed, when there is no memory."""
        cdef Py_ssize_t n_chunks = (n + _CHUNK - 1) // _CHUNK
        cdef char *chunk
        if n_chunks > self._n_places and not self._resize_table(
            max(n_chunks, 2 * self._n_places, LEAST_PLACES)
        ):
            with gil:
                raise MemoryError(f"no memory for a ring of {n} samples")
        while self._n_chunks < n_chunks:
            chunk = self._spare
            self._spare = NULL
            if chunk == NULL:
                chunk = <char *>PyMem_RawMalloc(_CHUNK * self._width)
            if chunk == NULL:
                with gil:
                    raise MemoryError(f"no memory for a ring of {n} samples")
            self._chunks[self._n_chunks] = chunk
            self._n_chunks += 1
            self._chunk_bytes += _CHUNK * self._width
        return 0

    cdef void _free_chunk(self, Py_ssize_t number) noexcept nogil:
        cdef char *chunk = self._chunks[number]
        cdef const unsigned char *packed = _packed(chunk)
        if packed != NULL:
            self._chunk_bytes -= vg_pack_bytes(packed)
            PyMem_RawFree(<void *>packed)
        else:
            self._chunk_bytes -= _CHUNK * self._width
            self._keep_or_free(chunk)

    cdef void _keep_or_free(self, char *chunk) noexcept nogil:
        """As the spare, if there is none: the next push needs one. malloc takes its time with 2 KiB."""
        if self._spare == NULL:
            self._spare = chunk
        else:
            PyMem_RawFree(chunk)

    cdef void _pack_until(self, Py_ssize_t n_chunks) noexcept nogil:
        while self._n_looked_at < n_chunks:
            self._pack(self._n_looked_at)
            self._n_looked_at += 1

    cdef void _pack(self, Py_ssize_t number) noexcept nogil:
        """A chunk of 16 bits becomes a packed one, if that is smaller, and there is memory for it."""
        cdef uint8_t[VG_PACK_BLOCKS] widths
        cdef unsigned char *packed
        cdef int16_t *samples = <int16_t *>self._chunks[number]
        vg_pack_widths(samples, widths)
        if vg_pack_bytes(widths) > MOST_PACKED_BYTES:
            return
        packed = <unsigned char *>PyMem_RawMalloc(vg_pack_bytes(widths))
        if packed == NULL:
            return
        vg_pack(samples, widths, packed)
        self._keep_or_free(<char *>samples)
        self._chunks[number] = <char *>packed + 1
        self._chunk_bytes += vg_pack_bytes(widths) - _CHUNK * self._width

    cdef bint _resize_table(self, Py_ssize_t n_places) noexcept nogil:
        """False, and nothing has changed, when there is no memory."""
        cdef char **chunks = <char **>PyMem_RawRealloc(self._chunks, n_places * sizeof(char *))
        if chunks == NULL:
            return False
        self._chunks = chunks
        self._n_places = n_places
        return True

    cdef int _widen(self) except -1 nogil:
        """From here on, samples are float32. MemoryError, and nothing has changed, when there is no memory."""
        cdef Py_ssize_t number
        cdef const unsigned char *packed
        cdef char **chunks = <char **>PyMem_RawCalloc(self._n_places, sizeof(char *))
        cdef bint is_done = chunks != NULL
        if is_done:
            for number in range(self._n_chunks):
                chunks[number] = <char *>PyMem_RawMalloc(_CHUNK * sizeof(sample_t))
                if chunks[number] == NULL:
                    is_done = False
                    break
        if not is_done:
            for number in range(self._n_chunks if chunks != NULL else 0):
                PyMem_RawFree(chunks[number])
            PyMem_RawFree(chunks)
            with gil:
                raise MemoryError(f"no memory for a ring of {self._n_chunks * _CHUNK} samples")
        for number in range(self._n_chunks):
            packed = _packed(self._chunks[number])
            if packed != NULL:
                vg_unpack(self._kernels, packed, 0, _CHUNK, <sample_t *>chunks[number])
            else:
                self._kernels.widen(<const int16_t *>self._chunks[number], _CHUNK, <sample_t *>chunks[number])
            self._free_chunk(number)
        PyMem_RawFree(self._chunks)
        PyMem_RawFree(self._spare)
        self._spare = NULL
        self._chunks = chunks
        self._width = sizeof(sample_t)
        self._chunk_bytes = self._n_chunks * _CHUNK * self._width
        return 0

    # -- from Python -------------------------------------------------------------------------------------------------

    def push(self, samples) -> None:
        """Append ``samples``: float32, shape (n,).

        BufferError, naming need and have, when they do not fit: nothing is stored then. TypeError on anything but a
        float32 array, ValueError on another shape.
        """
        if not cnp.PyArray_Check(samples) or cnp.PyArray_TYPE(<cnp.ndarray>samples) != cnp.NPY_FLOAT32:
            came = f"an array of {samples.dtype}" if cnp.PyArray_Check(samples) else type(samples).__name__
            raise TypeError(f"samples must be a float32 array of shape (n,), got {came}")
        if cnp.PyArray_NDIM(<cnp.ndarray>samples) != 1:
            raise ValueError(f"samples must have shape (n,), got {samples.shape}")
        cdef cnp.ndarray plane = <cnp.ndarray>samples
        if not cnp.PyArray_ISCARRAY_RO(plane):  # in one piece, aligned and in native byte order
            plane = cnp.PyArray_FROMANY(samples, cnp.NPY_FLOAT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)
        self.ring_push(<const sample_t *>cnp.PyArray_DATA(plane), cnp.PyArray_SIZE(plane))

    def read(self, start_pos, end_pos):
        """A copy of the samples ``start_pos`` (included) to ``end_pos`` (not included): float32, 1-D.

        IndexError, naming the asked and the held range, when they are not all held or ``end_pos`` lies before
        ``start_pos``.
        """
        cdef pos_t start = _position(start_pos), end = _position(end_pos)
        cdef cnp.npy_intp n
        self._check(start, end)
        n = <cnp.npy_intp>(end - start)
        result = cnp.PyArray_SimpleNew(1, &n, cnp.NPY_FLOAT32)
        self.ring_read(start, end, <sample_t *>cnp.PyArray_DATA(<cnp.ndarray>result))
        return result

    def discard_before(self, pos) -> None:
        """Give up all samples before ``pos``, if they are not gone already. IndexError when it lies after the end."""
        self.ring_discard_before(_position(pos))
