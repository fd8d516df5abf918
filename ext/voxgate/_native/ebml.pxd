"""The numbers of EBML (RFC 8794)."""

from libc.stdint cimport uint8_t, uint64_t


# Bytes of a number of EBML by its first byte; 0: more than 8.
cdef inline int ebml_length(uint8_t first) noexcept nogil:
    cdef int n = 1
    while n <= 8:
        if first & (0x100 >> n):
            return n
        n += 1
    return 0


cdef inline uint64_t ebml_big(const uint8_t *data, int n) noexcept nogil:
    cdef uint64_t value = 0
    cdef int index
    for index in range(n):
        value = value << 8 | data[index]
    return value
