from libc.stdint cimport int16_t

from .types cimport pos_t, sample_t

cdef extern from "ring.h" nogil:
    ctypedef struct vg_ring_kernels:
        void (*widen)(const int16_t *samples, Py_ssize_t n, float *out) noexcept nogil


cdef class SampleRing:
    cdef readonly Py_ssize_t capacity       # samples
    cdef readonly pos_t start_pos           # of the first sample held
    cdef readonly pos_t end_pos             # after the last sample held
    cdef char **_chunks                     # samples held, and at the ends of the first and the last chunk others
    cdef Py_ssize_t _n_chunks               # (a pointer that is odd: one behind a packed chunk)
    cdef Py_ssize_t _n_looked_at            # chunks at the front that are packed, or are not worth it
    cdef Py_ssize_t _chunk_bytes            # of all of them
    cdef char *_spare                       # not packed; NULL for none
    cdef Py_ssize_t _n_places               # in the table of chunks
    cdef pos_t _chunks_pos                  # of the first sample of the first chunk
    cdef Py_ssize_t _width                  # bytes of each: 2 (int16), or 4 (float32)
    cdef const vg_ring_kernels *_kernels

    # n samples to the end. BufferError, and nothing stored, when fewer than n are free.
    cdef int ring_push(self, const sample_t *samples, Py_ssize_t n) except -1 nogil
    # Fetches into the cache where the next samples go, in two steps, 0 and 1: the second from what the first has fetched.
    cdef void ring_fetch(self, int step) noexcept nogil
    # Copies start_pos..end_pos to out. IndexError when they are not all held.
    cdef int ring_read(self, pos_t start_pos, pos_t end_pos, sample_t *out) except -1 nogil
    # Where start_pos..end_pos lie: in the ring, until the next push or discard, or as a copy in `room`, which is not
    # NULL and has room for them. IndexError as ring_read.
    cdef const sample_t *ring_view(self, pos_t start_pos, pos_t end_pos, sample_t *room) except NULL nogil
    # Gives up all samples before pos; one before start_pos changes nothing. IndexError after end_pos.
    cdef int ring_discard_before(self, pos_t pos) except -1 nogil

    cdef int _check(self, pos_t start_pos, pos_t end_pos) except -1 nogil
    cdef bint _store_whole(self, Py_ssize_t first, const sample_t *samples, Py_ssize_t n) noexcept nogil
    cdef void _store(self, Py_ssize_t first, const sample_t *samples, Py_ssize_t n) noexcept nogil
    cdef int _make_room(self, Py_ssize_t n) except -1 nogil
    cdef void _free_chunk(self, Py_ssize_t number) noexcept nogil
    cdef void _keep_or_free(self, char *chunk) noexcept nogil
    cdef void _pack_until(self, Py_ssize_t n_chunks) noexcept nogil
    cdef void _pack(self, Py_ssize_t number) noexcept nogil
    cdef bint _resize_table(self, Py_ssize_t n_places) noexcept nogil
    cdef int _widen(self) except -1 nogil
