from libc.stdint cimport int64_t, uint8_t, uint64_t

from .webm_block cimport WebmBlock

cdef enum:
    WEBM_MOST_DEPTH = 8


# A track while its entry is read.
cdef struct Track:
    uint64_t number
    uint64_t type
    uint64_t codec_delay_ns
    uint64_t channels
    double sample_rate
    bint is_encoded


cdef class WebmDemuxer:
    cdef bytes _input                    # what `read` parses, from `_data` on
    cdef const uint8_t *_data
    cdef Py_ssize_t _left
    cdef uint64_t _at                    # position in the stream

    cdef uint8_t _head[12]               # the head of an element: id and size
    cdef int _n_head
    cdef uint64_t _id                    # of the element that is read
    cdef uint64_t _size_left             # bytes of it that are still to come
    cdef bint _is_skipped
    cdef bint _is_kept                   # its bytes go into `_buffer`
    cdef bint _is_number                 # its bytes go into `_number`

    cdef uint64_t _masters[WEBM_MOST_DEPTH]    # the elements around
    cdef uint64_t _ends[WEBM_MOST_DEPTH]       # and where they end
    cdef bint _is_open[WEBM_MOST_DEPTH]        # its size is not known: it ends with what is outside of it
    cdef int _depth

    cdef uint8_t *_buffer
    cdef Py_ssize_t _buffer_bytes
    cdef Py_ssize_t _buffer_capacity
    cdef uint64_t _number
    cdef int _number_bytes

    cdef Track _track
    cdef str _codec
    cdef bytes _private
    cdef tuple _chosen                   # the HEAD event
    cdef str _codecs                     # of the other tracks, for the error
    cdef int _n_tracks
    cdef uint64_t _chosen_number
    cdef bint _is_opus
    cdef bint _has_tracks
    cdef bint _is_begun                  # an EBML head has been read

    cdef uint64_t _scale_ns
    cdef uint64_t _cluster_time
    cdef bint _has_block                 # of this group
    cdef int64_t _discard_ns

    cdef WebmBlock _block                # whose frames are returned

    cdef readonly object error
    cdef readonly long long n_parts

    cdef object _step(self)
    cdef object _close(self)
    cdef object _begin(self)
    cdef int _take(self) except -1
    cdef object _end_element(self)
    cdef int _keep(self, const uint8_t *data, Py_ssize_t n) except -1
    cdef int _choose(self) except -1
    cdef int _open_block(self) except -1
    cdef int _fail(self, str kind, str text) except -1
