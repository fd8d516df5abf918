"""The one kind of websocket frame (RFC 6455) that live audio comes in: whole, binary, masked."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    _FIN_BINARY = 0x82
    _MASKED = 0x80


def binary_payload(data, Py_ssize_t pos, Py_ssize_t end_pos, Py_ssize_t max_bytes):
    """The payload, unmasked, of the frame that begins at ``data[pos]``; None unless it is a whole message in one binary
    frame with a mask, of at most ``max_bytes`` and 65535 bytes, ends at or before ``end_pos``, and gives its length in
    the shortest way.

    ``data``: bytes (TypeError). With p bytes of payload the frame takes p + 6, from p = 126 on p + 8. ValueError unless
    0 <= pos <= end_pos <= len(data). Any thread.
    """
    if not PyBytes_CheckExact(data):
        raise TypeError(f"data must be bytes, got {type(data).__name__}")
    if not 0 <= pos <= end_pos <= PyBytes_GET_SIZE(data):
        raise ValueError(f"expected 0 <= pos <= end_pos <= {len(data)}, got {pos} and {end_pos}")
    cdef const uint8_t *frame = <const uint8_t *>PyBytes_AS_STRING(data) + pos
    cdef Py_ssize_t left = end_pos - pos, head = 2, n, i
    if left < 6 or frame[0] != _FIN_BINARY or frame[1] < _MASKED:
        return None
    n = frame[1] - _MASKED
    if n == 127:
        return None
    if n == 126:
        n = frame[2] << 8 | frame[3]
        head = 4
        if n < 126:
            return None
    if n > max_bytes or head + 4 + n > left:
        return None
    payload = PyBytes_FromStringAndSize(NULL, n)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(payload)
    cdef const uint8_t *masked = frame + head + 4
    cdef uint32_t key
    cdef uint64_t keys, word
    memcpy(&key, frame + head, 4)
    keys = <uint64_t>key << 32 | key  # the same bytes again, on either kind of machine
    i = 0
    while i + 8 <= n:
        memcpy(&word, masked + i, 8)
        word ^= keys
        memcpy(out + i, &word, 8)
        i += 8
    while i < n:
        out[i] = masked[i] ^ frame[head + (i & 3)]
        i += 1
    return payload
