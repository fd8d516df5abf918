from libc.stdint cimport uint8_t


cdef class TextAudio:
    cdef public Py_ssize_t n_bytes
    cdef public int last_byte
    cdef bytes _kind_bytes
    cdef const uint8_t *_type
    cdef Py_ssize_t _type_bytes
    cdef long long[::1] _count

    # Decodes the audio of a message to `audio`, which has room for three quarters of it, and returns its bytes; 0: the
    # message is of another shape, or without audio.
    cdef Py_ssize_t find(self, const uint8_t *text, Py_ssize_t n, uint8_t *audio) noexcept
    # The audio of a message was taken.
    cdef void note(self, Py_ssize_t n_text, const uint8_t *audio, Py_ssize_t n_audio) noexcept
