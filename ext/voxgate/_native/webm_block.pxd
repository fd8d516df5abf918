from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    WEBM_PACKET = 1              # the kind of the event
    WEBM_MOST_FRAMES = 256


cdef class WebmBlock:
    cdef str problem             # what is broken; None: nothing
    cdef uint64_t _at            # position in the stream, for the problem
    cdef bint _is_opus
    cdef const uint8_t *_frame   # the frames of the block that is returned
    cdef Py_ssize_t _frame_bytes[WEBM_MOST_FRAMES]
    cdef int n_frames
    cdef int next_frame          # equal to n_frames: the block is over
    cdef int64_t _pos
    cdef int64_t _block_end
    cdef int64_t _gap
    cdef int64_t _trim_begin
    cdef int64_t _trim_end

    cdef bint is_placed          # blocks came before; False where a stream begins
    cdef int64_t _last_pos       # where the last one was, and how long
    cdef int64_t _last_samples
    cdef int _last_duration      # of its last packet
    cdef int64_t _ahead          # audio that came before its time

    # The frames of a block in memory, at least a byte, which has to stay there while they are returned: how many they
    # are. Its times are in units of `scale_ns`; `discard_ns`: its DiscardPadding.
    cdef int open(
        self, const uint8_t *data, Py_ssize_t n, uint64_t cluster_time, uint64_t scale_ns, int64_t discard_ns,
        bint is_opus, uint64_t at
    ) except -1
    # The PACKET event of the next frame; None: it is no valid packet.
    cdef object next(self)
    cdef int _lace(self, const uint8_t *data, Py_ssize_t n, int lacing) except -1
    cdef int _place(self, int64_t pos, int64_t discard_ns) except -1
    cdef int _fail(self, str problem) except -1
