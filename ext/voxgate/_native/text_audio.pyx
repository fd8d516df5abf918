"""Audio in text messages: base64 in a JSON object, decoded without a parser of JSON."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcmp

cimport cython

cdef enum:
    _BAD = 0x1000000  # beyond the 24 bits of four characters

# What each character is worth, by its place among four.
cdef uint32_t _VALUES[4][256]

cdef void _set_values(bytes alphabet):
    cdef int place, index
    for place in range(4):
        for index in range(256):
            _VALUES[place][index] = _BAD
        for index in range(64):
            _VALUES[place][alphabet[index]] = index << 6 * (3 - place)

_set_values(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


@cython.final
cdef class TextAudio:
    """Finds the audio in the messages of one client that look like live audio does: a JSON object with ``"type"``,
    which is ``kind``, ``"audio"``, base64 of at least one byte, and perhaps ``"event_id"``, each once and in any order,
    all of them strings without escapes, in ASCII. Any other message is for the parser of the API, also one that means
    the same.

    ``kind``: printable ASCII without quotes and backslashes (ValueError). ``count``: a writable buffer of two int64, of
    messages and their bytes, to which those are added whose audio was taken; ``n_bytes``: of the audio itself, so far,
    and ``last_byte`` of it.

    Threads: one caller at a time; the GIL is kept.
    """

    def __cinit__(self, str kind not None, long long[::1] count not None):
        if not (kind.isascii() and kind.isprintable()) or '"' in kind or "\\" in kind:
            raise ValueError(f"kind must be ASCII without quotes and backslashes, got {kind!r}")
        if count.shape[0] != 2:
            raise ValueError(f"count must have 2 numbers, got {count.shape[0]}")
        self._kind_bytes = kind.encode()
        self._type = self._kind_bytes
        self._type_bytes = len(self._kind_bytes)
        self._count = count

    def __reduce__(self):
        raise TypeError("a TextAudio belongs to one client and cannot be pickled or copied")

    def __call__(self, const uint8_t[::1] text not None):
        """The audio in ``text``, UTF-8; None: it is of another shape, or without audio."""
        cdef bytearray audio = bytearray(text.shape[0])
        cdef Py_ssize_t n = 0
        if text.shape[0] > 0:
            n = self.find(&text[0], text.shape[0], audio)
        return bytes(audio[:n]) if n > 0 else None

    cdef Py_ssize_t find(self, const uint8_t *text, Py_ssize_t n, uint8_t *audio) noexcept:
        cdef const uint8_t *end = text + n
        cdef const uint8_t *at = _skip(text, end)
        cdef const uint8_t *key
        cdef const uint8_t *value
        cdef Py_ssize_t key_bytes, n_audio = 0
        cdef bint has_type = False, has_id = False
        if at == end or at[0] != c"{":
            return 0
        while True:
            at = _skip(at + 1, end)
            key = at + 1
            at = _string(at, end)
            if at == NULL:
                return 0
            key_bytes = at - key - 1
            at = _skip(at, end)
            if at == end or at[0] != c":":
                return 0
            at = _skip(at + 1, end)
            value = at + 1
            if key_bytes == 5 and memcmp(key, b"audio", 5) == 0 and n_audio == 0:
                at = _quote(at, end)  # what stands before it has to be base64
                if at == NULL:
                    return 0
                n_audio = _decode(value, at - value - 1, audio)
                if n_audio == 0:
                    return 0
            else:
                at = _string(at, end)
                if at == NULL:
                    return 0
                if key_bytes == 4 and memcmp(key, b"type", 4) == 0 and not has_type:
                    has_type = True
                    if at - value - 1 != self._type_bytes or memcmp(value, self._type, self._type_bytes) != 0:
                        return 0
                elif key_bytes == 8 and memcmp(key, b"event_id", 8) == 0 and not has_id:
                    has_id = True
                else:
                    return 0
            at = _skip(at, end)
            if at == end:
                return 0
            if at[0] != c",":
                break
        if at[0] != c"}" or _skip(at + 1, end) != end:
            return 0
        return n_audio if has_type else 0

    cdef void note(self, Py_ssize_t n_text, const uint8_t *audio, Py_ssize_t n_audio) noexcept:
        self.n_bytes += n_audio
        self.last_byte = audio[n_audio - 1]
        self._count[0] += 1
        self._count[1] += n_text


cdef const uint8_t *_skip(const uint8_t *at, const uint8_t *end) noexcept:
    """Past the white space of JSON."""
    while at < end and at[0] in (c" ", c"\t", c"\n", c"\r"):
        at += 1
    return at


cdef const uint8_t *_quote(const uint8_t *at, const uint8_t *end) noexcept:
    """Behind the next quote but one, if the first is here; NULL: there are none."""
    if at >= end or at[0] != c'"':
        return NULL
    at = <const uint8_t *>memchr(at + 1, c'"', end - at - 1)
    if at != NULL:
        at += 1
    return at


cdef const uint8_t *_string(const uint8_t *at, const uint8_t *end) noexcept:
    """Behind the string that begins here; NULL: there is none, or one with more than plain characters."""
    cdef const uint8_t *behind = _quote(at, end)
    if behind != NULL:
        at += 1
        while at < behind - 1:
            if not 0x20 <= at[0] < 0x80 or at[0] == c"\\":
                return NULL
            at += 1
    return behind


cdef Py_ssize_t _decode(const uint8_t *text, Py_ssize_t n, uint8_t *out) noexcept:
    """The bytes of base64 (RFC 4648, with padding, whose unused bits are 0); 0: it is not, or empty."""
    cdef uint32_t word, all_words = 0
    cdef Py_ssize_t n_whole, index, n_out
    cdef int n_padding
    if n < 4 or n & 3:
        return 0
    n_padding = (text[n - 1] == c"=") + (text[n - 1] == c"=" and text[n - 2] == c"=")
    n_whole = n // 4 - (n_padding > 0)
    for index in range(n_whole):
        word = (
            _VALUES[0][text[0]] | _VALUES[1][text[1]]
            | _VALUES[2][text[2]] | _VALUES[3][text[3]]
        )
        all_words |= word
        out[0] = word >> 16
        out[1] = word >> 8 & 0xFF
        out[2] = word & 0xFF
        text += 4
        out += 3
    n_out = 3 * n_whole
    if n_padding > 0:
        word = _VALUES[0][text[0]] | _VALUES[1][text[1]]
        if n_padding == 1:
            word |= _VALUES[2][text[2]]
        all_words |= word
        if word & (0xFF if n_padding == 1 else 0xFFFF):
            return 0
        out[0] = word >> 16
        if n_padding == 1:
            out[1] = word >> 8 & 0xFF
        n_out += 3 - n_padding
    return n_out if all_words < _BAD else 0
