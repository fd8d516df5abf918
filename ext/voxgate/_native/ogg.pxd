from libc.stdint cimport int64_t, uint8_t, uint32_t


cdef class OggDemuxer:
    cdef bytes _input                    # what `read` parses, from `_data` on
    cdef const uint8_t *_data
    cdef Py_ssize_t _left

    cdef uint8_t *_page                  # the page that arrives; behind it, after a damaged one, what follows
    cdef Py_ssize_t _page_bytes
    cdef Py_ssize_t _page_capacity
    cdef bint _in_page                   # a whole, valid page of the selected stream is being read
    cdef Py_ssize_t _page_size
    cdef Py_ssize_t _n_skipped           # bytes since the last valid page
    cdef int64_t _n_vain                 # bytes that were checked and are no page, less what valid pages allow
    cdef bint _is_over
    cdef bint _is_cut                    # the last page is not complete

    cdef int _segment                    # of the page: the next lacing value, and where its bytes are
    cdef Py_ssize_t _at
    cdef bint _drops_first               # the page begins with the end of a packet whose beginning is lost

    cdef uint8_t *_packet                # the beginning of a packet that goes on on the next page
    cdef Py_ssize_t _packet_bytes
    cdef Py_ssize_t _packet_capacity
    cdef bint _in_packet
    cdef bint _is_discarded              # of that packet, nothing is kept: a comment header

    cdef bint _is_link                   # pages of a link have come
    cdef bint _in_heads                  # only first pages have come in this link
    cdef bint _is_selected
    cdef uint32_t _serial
    cdef uint32_t _sequence              # of the next page
    cdef bint _is_opus
    cdef int _n_headers_left             # header packets of the stream that are still to come
    cdef str _codecs                     # of this link, for the error

    cdef bint _is_placed                 # `_pos` is known
    cdef bint _ended
    cdef int64_t _pos
    cdef int64_t _end                    # of this page, -1: not trimmed
    cdef int64_t _gap

    cdef readonly object error
    cdef readonly long long n_parts
    cdef readonly long long n_pages_lost

    cdef bint _fill(self) except -1
    cdef int _resync(self) except -1
    cdef int _drop(self, Py_ssize_t n) except -1
    cdef object _open_page(self)
    cdef object _open_stream(self, uint32_t serial, uint32_t sequence, const uint8_t *head, Py_ssize_t n)
    cdef int _place(self, bint is_last, int64_t granule, bint is_lost) except -1
    cdef object _next_packet(self)
    cdef int _append(self, const uint8_t *data, Py_ssize_t n) except -1
    cdef object _emit(self, const uint8_t *data, Py_ssize_t n)
    cdef int _fail(self, str kind, str text) except -1
