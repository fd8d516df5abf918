from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t


cdef extern from "flac.h" nogil:
    enum:
        FLAC_MAX_CHANNELS
        FLAC_NEEDS_MORE
        FLAC_BROKEN
        FLAC_UNSUPPORTED

    ctypedef struct flac_info:
        int32_t rate
        int32_t channels
        int32_t bits
        int32_t block

    ctypedef struct flac_head:
        int32_t head_bytes
        int32_t samples
        int32_t rate
        int32_t channels
        int32_t bits
        int32_t is_variable
        uint64_t number

    void flac_fill_tables()
    uint16_t flac_crc16(uint16_t crc, uint8_t byte)
    int flac_read_head(const uint8_t *data, int64_t n, const flac_info *info, flac_head *head)
    int64_t flac_decode(const uint8_t *data, int64_t n, const flac_head *head, int32_t *planes)
    void flac_interleave(const flac_head *head, const int32_t *planes, void *out)


cdef class FlacDecoder:
    cdef bytes _input                    # what `read` parses, from `_data` on
    cdef const uint8_t *_data
    cdef Py_ssize_t _left
    cdef bint _is_reading
    cdef bint _is_over

    cdef int _state
    cdef Py_ssize_t _skip_left
    cdef bint _is_last                   # of the blocks before the frames
    cdef int _n_blocks

    cdef uint8_t *_buffer                # the frame that arrives, from `_begin` on, and what follows
    cdef Py_ssize_t _begin
    cdef Py_ssize_t _buffer_bytes
    cdef Py_ssize_t _buffer_capacity
    cdef int32_t *_planes
    cdef Py_ssize_t _planes_capacity

    cdef flac_info _info
    cdef flac_head _head
    cdef Py_ssize_t _n_seen              # bytes of the frame that were looked at, and their CRC
    cdef uint16_t _crc
    cdef bint _has_head
    cdef int _n_tries
    cdef Py_ssize_t _next_head           # in the frame: where the next one may begin; -1: nowhere yet
    cdef bint _is_lost                   # what came last was no valid frame
    cdef bint _was_lost                  # when the stream was over, and still
    cdef bint _is_cut                    # the stream is over, and its last frame is not valid
    cdef int64_t _n_vain                 # bytes that were checked and are no frame, less what valid frames allow
    cdef int64_t _n_given_up             # all of those
    cdef int64_t _n_work                 # parts of other work that gave no audio
    cdef int64_t _n_searched             # of those, since others could run

    cdef bint _is_placed
    cdef int64_t _origin                 # the number of the first sample
    cdef readonly long long pos
    cdef readonly long long total
    cdef readonly long long gap
    cdef readonly long long n_damaged
    cdef readonly object error

    cdef bint _collect(self, Py_ssize_t wanted) except -1
    cdef int _reserve(self, Py_ssize_t needed) except -1
    cdef int _step(self) except -1
    cdef int _read_info(self, const uint8_t *data) except -1
    cdef Py_ssize_t _most_bytes(self) noexcept
    cdef object _frame(self)
    cdef int _resync(self, Py_ssize_t at) except -1
    cdef int _give_up(self, int64_t n_bytes) except -1
    cdef int64_t _pos_of(self, const flac_head *head) noexcept
    cdef bint _has_format(self, const flac_head *head) noexcept
    cdef bint _is_plausible(self) noexcept
    cdef bint _is_next(self, const uint8_t *data) noexcept
    cdef Py_ssize_t _reserve_planes(self) except -1
    cdef int64_t _decode(self, const uint8_t *data, Py_ssize_t n) except? -7
    cdef object _emit(self, Py_ssize_t n_bytes)
    cdef int _fail_lost(self) except -1
    cdef int _fail_depth(self) except -1
    cdef int _fail(self, str kind, str text) except -1
