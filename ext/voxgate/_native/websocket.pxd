from libc.stdint cimport uint8_t, uint32_t

from .live cimport LiveAudio
from .text_audio cimport TextAudio


cdef class ReadBuffer:
    cdef bytearray _memory
    cdef readonly object view
    cdef uint8_t *data
    cdef bytearray _audio_memory
    cdef uint8_t *audio                  # of a text message, decoded
    cdef Py_ssize_t size


cdef class FrameReceiver:
    # What live audio touches comes first, and lies together.
    cdef uint8_t *_read                  # the memory of `_buffer`
    cdef LiveAudio _live                 # the listener, if it is one
    cdef object _listener
    cdef TextAudio _text_audio
    cdef public Py_ssize_t n_frames_left
    cdef Py_ssize_t _max_bytes
    cdef Py_ssize_t _n_turn_frames
    cdef Py_ssize_t _n_turn_bytes        # given to the listener in this turn
    cdef Py_ssize_t _kept_bytes          # of `_kept`, from `_kept_pos` on
    cdef public bint is_held
    cdef public bint is_timed
    cdef readonly bint is_stopped
    cdef readonly bint close_seen
    cdef public bint rested
    cdef bint _in_payload
    cdef bint _is_over                   # `stop` was called
    cdef bint _is_running                # the listener has been called
    cdef uint8_t _n_head
    cdef uint8_t _message_opcode         # of the message that is not complete; 0: none
    cdef int _fd                         # of the socket that a SocketReader reads; -1: none does
    cdef object _event

    cdef const uint8_t *_behind          # what came behind the bytes that are looked at
    cdef Py_ssize_t _behind_bytes

    cdef ReadBuffer _buffer
    cdef uint8_t _head[14]
    cdef uint8_t _head_bytes             # of this header, as far as is known
    cdef uint8_t _opcode
    cdef bint _fin
    cdef uint8_t _key[4]
    cdef Py_ssize_t _payload_left
    cdef uint8_t _control[125]
    cdef Py_ssize_t _n_control

    cdef uint8_t *_message
    cdef Py_ssize_t _message_bytes, _message_capacity
    cdef Py_ssize_t _n_fragments, _max_fragments
    cdef uint8_t _utf8_more, _utf8_low, _utf8_high

    cdef uint8_t *_kept
    cdef Py_ssize_t _kept_pos

    cdef void fetch(self, int step) noexcept
    cdef int _receive(self, uint8_t *data, Py_ssize_t n) except -1
    cdef int _keep(self, const uint8_t *data, Py_ssize_t n) except -1
    cdef void _drop_kept(self) noexcept
    cdef void _drop_message(self) noexcept
    cdef Py_ssize_t _run(self, uint8_t *data, Py_ssize_t n) except -1
    cdef int _header(self) except -1
    cdef int _payload(self, uint8_t *data, Py_ssize_t n) except -1
    cdef int _frame_ends(self) except -1
    cdef int _message_ends(self, uint8_t *data, Py_ssize_t n) except -1
    cdef int _text_ends(self, const uint8_t *text, Py_ssize_t n, bint is_utf8) except -1
    cdef int _close_frame(self) except -1
    cdef bint _is_taken(self, uint8_t *data, Py_ssize_t n) except -1
    cdef int _append(self, const uint8_t *data, Py_ssize_t n) except -1
    cdef bint _is_utf8(self, const uint8_t *data, Py_ssize_t n) noexcept
    cdef int _violation(self, int code, str reason) except -1
