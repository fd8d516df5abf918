"""The recent samples of one channel, addressed by absolute position since the start of the stream.

The samples held always lie in one piece, in a block an eighth larger than they are: when its end is reached they are
moved to its front. That costs at most eight copies a sample, and in return every range can be looked at where it lies
and read with one pass, and memory follows what is held. A block grows in place where the allocator can (realloc), so a
long utterance is hardly ever copied.

A sample takes two bytes as long as all of them are whole numbers of 1/32768, which they are when 16-bit audio comes at
the rate of the detector. The first that is not makes the ring one of float32, for good. Nothing else shows the
difference: samples come back bit for bit.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int16_t
from libc.string cimport memcpy, memmove

cimport numpy as cnp

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "ring.h" nogil:
    bint vg_ring_narrow(const float *samples, Py_ssize_t n, int16_t *out)
    void vg_ring_widen(const int16_t *samples, Py_ssize_t n, float *out)

cdef extern from "fetch.h" nogil:
    void vg_fetch(const void *data, int n_lines)

cnp.import_array()

# A block is never smaller than this, in samples, and always a multiple of ROUND samples.
cdef Py_ssize_t FLOOR = 4096
cdef Py_ssize_t ROUND = 1024
# Sizes in bytes of a block of this and an eighth cannot overflow.
cdef Py_ssize_t MAX_CAPACITY = PY_SSIZE_T_MAX // 8


cdef inline pos_t _position(object pos) except? -1:
    """A Python integer, and nothing that merely can be made one: Cython alone would cut 1.5 down to 1."""
    return PyNumber_Index(pos)


cdef inline Py_ssize_t _block_size(Py_ssize_t n) noexcept nogil:
    """The block for n samples: an eighth more, rounded up."""
    cdef Py_ssize_t size = n + n // 8
    size = (size + ROUND - 1) // ROUND * ROUND
    return size if size > FLOOR else FLOOR


@cython.final
cdef class SampleRing:
    """A bounded buffer of float32 samples, addressed by absolute positions (64 bit; the first sample ever pushed is 0).

    ``capacity_samples``: how many samples it may hold, at least 1 (ValueError). Memory follows what is held, not the
    capacity: none before the first push, then at most the samples held and half as many more (or 4096), of two bytes
    while all samples so far are whole numbers of 1/32768, within -1..32767/32768, of four otherwise; and never more than
    the capacity and an eighth.

    Threads: one caller at a time.
    """

    def __cinit__(self, Py_ssize_t capacity_samples):
        if not 1 <= capacity_samples <= MAX_CAPACITY:
            raise ValueError(f"capacity_samples must be 1..{MAX_CAPACITY}, got {capacity_samples}")
        self.capacity = capacity_samples
        self._width = sizeof(int16_t)

    def __dealloc__(self):
        PyMem_RawFree(self._block)

    def __reduce__(self):
        raise TypeError("a SampleRing belongs to one stream and cannot be pickled or copied")

    def __len__(self) -> int:
        """How many samples are held."""
        return <Py_ssize_t>(self.end_pos - self.start_pos)

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken for samples."""
        return self._allocated * self._width

    # -- without the GIL ---------------------------------------------------------------------------------------------

    cdef int ring_push(self, const sample_t *samples, Py_ssize_t n) except -1 nogil:
        cdef Py_ssize_t held = <Py_ssize_t>(self.end_pos - self.start_pos)
        if n > self.capacity - held:
            with gil:
                raise BufferError(
                    f"ring is full: need room for {n} samples, have {self.capacity - held} of {self.capacity} free"
                )
        if n > self._allocated - self._offset - held:
            self._make_room(n)
        if n > 0 and self._width == sizeof(int16_t):
            if not vg_ring_narrow(samples, n, <int16_t *>self._block + self._offset + held):
                self._widen()
        if n > 0 and self._width == sizeof(sample_t):
            memcpy(<sample_t *>self._block + self._offset + held, samples, n * sizeof(sample_t))
        self.end_pos += n
        return 0

    cdef void ring_fetch(self, int step) noexcept nogil:
        if step == 0:
            vg_fetch(self._block + (self._offset + <Py_ssize_t>(self.end_pos - self.start_pos)) * self._width, 10)

    cdef int ring_read(self, pos_t start_pos, pos_t end_pos, sample_t *out) except -1 nogil:
        cdef const sample_t *samples = self.ring_view(start_pos, end_pos, out)
        if samples != out and end_pos > start_pos:
            memcpy(out, samples, (end_pos - start_pos) * sizeof(sample_t))
        return 0

    cdef const sample_t *ring_view(self, pos_t start_pos, pos_t end_pos, sample_t *room) except NULL nogil:
        cdef Py_ssize_t first
        self._check(start_pos, end_pos)
        first = self._offset + <Py_ssize_t>(start_pos - self.start_pos)
        if self._width == sizeof(sample_t):
            return <sample_t *>self._block + first
        if end_pos > start_pos:
            vg_ring_widen(<int16_t *>self._block + first, <Py_ssize_t>(end_pos - start_pos), room)
        return room

    cdef int ring_discard_before(self, pos_t pos) except -1 nogil:
        if pos > self.end_pos:
            with gil:
                raise IndexError(f"cannot discard before {pos}: held are samples {self.start_pos}..{self.end_pos}")
        if pos <= self.start_pos:
            return 0
        self._offset += <Py_ssize_t>(pos - self.start_pos)
        self.start_pos = pos
        cdef Py_ssize_t held = <Py_ssize_t>(self.end_pos - pos)
        if held == 0:
            self._offset = 0
        # At 2/3 the new block is so much smaller that the next shrinking is a quarter of what is held away.
        if self._allocated > FLOOR and held < self._allocated // 3 * 2:
            self._move(_block_size(held))
        return 0

    cdef int _check(self, pos_t start_pos, pos_t end_pos) except -1 nogil:
        if start_pos < self.start_pos or end_pos > self.end_pos or start_pos > end_pos:
            with gil:
                raise IndexError(
                    f"asked for samples {start_pos}..{end_pos}, held are samples {self.start_pos}..{self.end_pos}"
                )
        return 0

    cdef int _make_room(self, Py_ssize_t n) except -1 nogil:
        """Room for n more samples: by a move to the front if that frees an eighth, else by a larger block."""
        cdef Py_ssize_t held = <Py_ssize_t>(self.end_pos - self.start_pos)
        cdef Py_ssize_t size = _block_size(held + n)
        cdef char *block
        if size <= self._allocated:
            memmove(self._block, self._block + self._offset * self._width, held * self._width)
            self._offset = 0
        elif self._offset == 0:
            block = <char *>PyMem_RawRealloc(self._block, size * self._width)
            if block == NULL:
                with gil:
                    raise MemoryError(f"no memory for a ring of {size} samples")
            self._block = block
            self._allocated = size
        elif self._move(size) == 0:
            with gil:
                raise MemoryError(f"no memory for a ring of {size} samples")
        return 0

    cdef int _move(self, Py_ssize_t size) except -1 nogil:
        """Into a new block of ``size`` samples. 1 when done, 0 when there is no memory (then nothing has changed)."""
        cdef Py_ssize_t held = <Py_ssize_t>(self.end_pos - self.start_pos)
        cdef char *block
        if size == self._allocated:
            return 1
        block = <char *>PyMem_RawMalloc(size * self._width)
        if block == NULL:
            return 0
        memcpy(block, self._block + self._offset * self._width, held * self._width)
        PyMem_RawFree(self._block)
        self._block = block
        self._allocated = size
        self._offset = 0
        return 1

    cdef int _widen(self) except -1 nogil:
        """From here on, samples are float32. MemoryError, and nothing has changed, when there is no memory."""
        cdef Py_ssize_t held = <Py_ssize_t>(self.end_pos - self.start_pos)
        cdef char *block = <char *>PyMem_RawMalloc(self._allocated * sizeof(sample_t))
        if block == NULL:
            with gil:
                raise MemoryError(f"no memory for a ring of {self._allocated} samples")
        vg_ring_widen(
            <int16_t *>self._block + self._offset, held, <sample_t *>block + self._offset
        )
        PyMem_RawFree(self._block)
        self._block = block
        self._width = sizeof(sample_t)
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
        # In one piece, aligned and in native byte order; the array itself when it is that already.
        cdef cnp.ndarray plane = cnp.PyArray_FROMANY(samples, cnp.NPY_FLOAT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)
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
