"""The frames of a websocket (RFC 6455), as a server receives and sends them. No I/O, no clock, no extensions.

A client's bytes are parsed and unmasked in the memory that they were read into. Audio goes from there to its listener;
Python learns of the rest, one event at a time.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .live cimport LiveAudio
from .text_audio cimport TextAudio

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bytearray PyByteArray_FromStringAndSize(const char *data, Py_ssize_t size)
    char *PyByteArray_AS_STRING(bytearray array)

cdef extern from "fetch.h" nogil:
    void vg_fetch(const void *data, int n_lines)

cdef enum:
    _CONTINUATION = 0
    _TEXT = 1
    _BINARY = 2
    _CLOSE = 8
    _PING = 9
    _PONG = 10

    _FIN = 0x80
    _RESERVED = 0x70
    _MASKED = 0x80

    # In one turn of the event loop, a connection gets so many frames and gives its listener so many bytes: about a
    # millisecond of work.
    _TURN_FRAMES = 64
    _TURN_BYTES = 16384

TURN_FRAMES = _TURN_FRAMES
TURN_BYTES = _TURN_BYTES
READ_BYTES = 65536

CONTINUATION = _CONTINUATION
TEXT = _TEXT
BINARY = _BINARY
CLOSE = _CLOSE
PING = _PING
PONG = _PONG
VIOLATION = 16

PROTOCOL_ERROR = 1002
NO_STATUS = 1005
INVALID_DATA = 1007
TOO_BIG = 1009


@cython.final
cdef class ReadBuffer:
    """Memory for what sockets read, shared by all connections of one event loop: what lies there is taken in before
    the loop reads from the next one. ``view``: a writable memoryview of READ_BYTES.
    """

    def __cinit__(self):
        self.size = READ_BYTES
        self._memory = PyByteArray_FromStringAndSize(NULL, self.size)
        self.data = <uint8_t *>PyByteArray_AS_STRING(self._memory)
        self.view = memoryview(self._memory)  # as long as there is a view, the memory stays where it is
        self._audio_memory = PyByteArray_FromStringAndSize(NULL, self.size)
        self.audio = <uint8_t *>PyByteArray_AS_STRING(self._audio_memory)

    def __reduce__(self):
        raise TypeError("a ReadBuffer belongs to one event loop and cannot be pickled or copied")


cdef class FrameReceiver:
    """Receives the frames of one client.

    Bytes come from a `SocketReader`, by `get_buffer` and `buffer_updated` (asyncio.BufferedProtocol), or by
    `data_received`. Binary messages are offered to the ``listener``, and so is the audio that ``text_audio`` finds in text messages of at most
    READ_BYTES. Everything else is an event, which `poll` returns:

    - (TEXT, str), (BINARY, bytes): a message, whole
    - (PING, bytes): to be answered with the same bytes
    - (CLOSE, code, reason, payload): the last frame of the client; code NO_STATUS for an empty payload
    - (VIOLATION, code, reason): what the client must not send; a close frame with these is due

    Pongs are counted and dropped. After CLOSE and VIOLATION nothing is received any more (``is_stopped``); after CLOSE,
    and a VIOLATION by the close frame itself, ``close_seen`` is True.

    Whenever there is something to do other than wait for more bytes, `on_input` of the subclass is called: an event is
    there, what came has to wait (``pending_bytes``), ``n_frames_left`` is used up. It calls `poll` until that returns
    None and ``pending_bytes`` is 0, or sets ``is_held`` and does so later; meanwhile everything that comes is kept. When
    all was received, and a message or frame is not complete, or was not at the last time (``is_timed``, which the
    subclass sets), `on_rest` is called. Neither must raise.

    ``n_frames_left``: frames that may be received until the owner sets it anew; `poll` returns None when they are used
    up, and when this turn of the event loop has had TURN_FRAMES or TURN_BYTES (``turn_is_over``; `begin_turn`).

    ``max_bytes``: of a message; ``max_fragments``: frames that it may come in. ValueError unless both are positive.
    ``is_held`` is True at first.

    A client must mask its frames and give a length in as few bytes as possible; no reserved bit may be set, for no
    extension is in use.

    Threads: one caller at a time, and no two for receivers with the same ``buffer``.
    """

    def __cinit__(self, *args, **kwargs):
        self.is_held = True
        self._fd = -1

    def set_up(self, ReadBuffer buffer not None, *, Py_ssize_t max_bytes, Py_ssize_t max_fragments, Py_ssize_t n_frames):
        """Must be called first, and once: RuntimeError."""
        if self._buffer is not None:
            raise RuntimeError("set_up() was called before")
        if max_bytes < 1 or max_fragments < 1:
            raise ValueError(f"limits must be positive, got {max_bytes} bytes and {max_fragments} fragments")
        self._buffer = buffer
        self._read = buffer.data
        self._max_bytes = max_bytes
        self._max_fragments = max_fragments
        self.n_frames_left = n_frames

    def __dealloc__(self):
        PyMem_RawFree(self._message)
        PyMem_RawFree(self._kept)

    def __reduce__(self):
        raise TypeError("a FrameReceiver belongs to one connection and cannot be pickled or copied")

    @property
    def listener(self):
        """A LiveAudio, or any callable that is given binary messages, bytes, in their order, and says whether it has
        taken this one: if not, that is an event. None: all are events. It must not raise, and may call `stop`.
        """
        return self._listener

    @listener.setter
    def listener(self, listener):
        self._listener = listener
        self._live = listener if type(listener) is LiveAudio else None

    @property
    def text_audio(self):
        """A TextAudio, or None: no text message holds audio. Messages whose audio was taken are added to its counts."""
        return self._text_audio

    @text_audio.setter
    def text_audio(self, TextAudio text_audio):
        self._text_audio = text_audio

    @property
    def pending_bytes(self):
        """What came and waits."""
        return self._kept_bytes

    @property
    def turn_is_over(self):
        return self._n_turn_frames >= _TURN_FRAMES or self._n_turn_bytes >= _TURN_BYTES

    @property
    def has_event(self):
        """`poll` will return it, whatever the limits say."""
        return self._event is not None

    @property
    def is_between(self):
        """Everything that was received belongs to messages and frames that are complete."""
        return self._n_head == 0 and not self._in_payload and self._message_opcode == 0

    def get_buffer(self, Py_ssize_t size_hint):
        """Where to write what is read: ``view`` of the ReadBuffer."""
        return self._buffer.view

    def buffer_updated(self, Py_ssize_t n_bytes):
        """So many bytes were written there. ValueError when the buffer is smaller."""
        if not 0 <= n_bytes <= self._buffer.size:
            raise ValueError(f"n_bytes must be within 0..{self._buffer.size}, got {n_bytes}")
        self._receive(self._read, n_bytes)

    def data_received(self, const uint8_t[::1] data not None):
        """The same for bytes that lie elsewhere; any contiguous buffer of bytes, which is not changed."""
        cdef Py_ssize_t pos = 0, n
        cdef Py_ssize_t n_bytes = data.shape[0]
        while pos < n_bytes:
            n = min(n_bytes - pos, self._buffer.size)
            memcpy(self._read, &data[pos], n)
            self._receive(self._read, n)
            pos += n

    # What `_receive` will touch of a message of live audio; see `SocketReader`.
    cdef void fetch(self, int step) noexcept:
        if step == 0:
            vg_fetch(<void *>self, 4)
        elif self._live is not None:
            self._live.fetch(step)

    cdef int _receive(self, uint8_t *data, Py_ssize_t n) except -1:
        cdef Py_ssize_t done
        if self._is_over or self.close_seen:
            return 0
        if self.is_held or self.is_stopped or self._kept_bytes > 0 or self._event is not None:
            self._keep(data, n)
            if not self.is_stopped or self._event is not None:
                self.on_input()
            return 0
        self._n_turn_frames = self._n_turn_bytes = 0
        done = self._run(data, n)
        if self._is_over:
            return 0
        if done < n and not self.close_seen:
            self._keep(data + done, n - done)
        if self._event is not None or self._kept_bytes > 0 or self.n_frames_left <= 0:
            self.on_input()
        elif self.is_timed or self._n_head > 0 or self._in_payload or self._message_opcode != 0:
            self.on_rest()
        return 0

    def on_input(self):
        """See above."""

    def on_rest(self):
        """See above."""

    def on_read_end(self, error):
        """A `SocketReader` reads no more: see there."""

    def begin_turn(self):
        """What the turn of the event loop may take begins anew."""
        self._n_turn_frames = self._n_turn_bytes = 0

    def poll(self):
        """The next event of what came, or None."""
        cdef Py_ssize_t done
        if self._event is None and self._kept_bytes > 0 and not self.is_stopped:
            done = self._run(self._kept + self._kept_pos, self._kept_bytes)
            if not self._is_over:  # there is nothing of it any more
                self._kept_pos += done
                self._kept_bytes -= done
                if self._kept_bytes == 0:
                    self._drop_kept()
        event, self._event = self._event, None
        return event

    def stop(self):
        """Nothing is received any more. Returns (n_skip_bytes, rest): what came and was not parsed, as it came, and how
        many bytes before the next frame are still to come in front of it. A header that is not complete is in ``rest``.
        """
        self.is_stopped = self._is_over = True
        self._listener = self._live = self._text_audio = self._event = None
        rest = PyBytes_FromStringAndSize(<const char *>self._head, self._n_head)
        if self._is_running:  # the listener asks
            rest += PyBytes_FromStringAndSize(<const char *>self._behind, self._behind_bytes)
        elif self._kept_bytes > 0:
            rest += PyBytes_FromStringAndSize(<const char *>self._kept + self._kept_pos, self._kept_bytes)
        n_skip_bytes = self._payload_left if self._in_payload else 0
        self._drop_kept()
        self._drop_message()
        self._n_head = 0
        self._in_payload = False
        return n_skip_bytes, rest

    cdef int _keep(self, const uint8_t *data, Py_ssize_t n) except -1:
        cdef uint8_t *kept
        if n == 0:
            return 0
        kept = <uint8_t *>PyMem_RawMalloc(self._kept_bytes + n)
        if kept == NULL:
            raise MemoryError
        if self._kept_bytes > 0:
            memcpy(kept, self._kept + self._kept_pos, self._kept_bytes)
        memcpy(kept + self._kept_bytes, data, n)
        PyMem_RawFree(self._kept)
        self._kept = kept
        self._kept_pos = 0
        self._kept_bytes += n
        return 0

    cdef void _drop_kept(self) noexcept:
        PyMem_RawFree(self._kept)
        self._kept = NULL
        self._kept_pos = self._kept_bytes = 0

    cdef void _drop_message(self) noexcept:
        PyMem_RawFree(self._message)
        self._message = NULL
        self._message_bytes = self._message_capacity = 0
        self._message_opcode = 0

    # Receives until there is an event, a limit, or nothing left; returns how many bytes that took. They are unmasked
    # where they lie.
    cdef Py_ssize_t _run(self, uint8_t *data, Py_ssize_t n) except -1:
        cdef Py_ssize_t pos = 0, left, size, head
        cdef uint8_t opcode
        while pos < n:
            if self._in_payload:
                size = min(self._payload_left, n - pos)
                self._behind, self._behind_bytes = data + pos + size, n - pos - size
                self._payload(data + pos, size)
                pos += size
                if self._event is not None or self.is_stopped:
                    return pos
                continue
            if self._n_head == 0:
                if (
                    self.n_frames_left <= 0
                    or self._n_turn_frames >= _TURN_FRAMES
                    or self._n_turn_bytes >= _TURN_BYTES
                ):
                    return pos
                # Live audio: a whole message in one frame, all of it here.
                left = n - pos
                opcode = data[pos] ^ _FIN
                if (
                    (opcode == _BINARY or (opcode == _TEXT and self._text_audio is not None))
                    and left >= 6 and self._message_opcode == 0 and data[pos + 1] >= _MASKED
                ):
                    size = data[pos + 1] - _MASKED
                    head = 6 if size < 126 else 0
                    if size == 126:
                        size = data[pos + 2] << 8 | data[pos + 3]
                        head = 8 if size >= 126 else 0
                    if head > 0 and size <= self._max_bytes and size <= left - head:
                        pos += head
                        _unmask(data + pos, size, data + pos - 4)
                        self.n_frames_left -= 1
                        self._n_turn_frames += 1
                        self.rested = True
                        self._behind, self._behind_bytes = data + pos + size, n - pos - size
                        if opcode == _TEXT:
                            self._text_ends(data + pos, size, False)
                        elif not self._is_taken(data + pos, size) and not self._is_over:
                            self._event = (_BINARY, PyBytes_FromStringAndSize(<const char *>data + pos, size))
                        pos += size
                        if self._event is not None or self.is_stopped:
                            return pos
                        continue
                self._head_bytes = 2
            self._head[self._n_head] = data[pos]
            self._n_head += 1
            pos += 1
            self._behind, self._behind_bytes = data + pos, n - pos
            self._header()
            if self._event is not None or self.is_stopped:
                return pos
        return pos

    # After each byte of a header: is it good so far, and complete?
    cdef int _header(self) except -1:
        cdef uint8_t first = self._head[0], second, opcode = first & 15
        cdef uint64_t size
        cdef int index
        if self._n_head == 1:
            if first & _RESERVED:
                return self._violation(1002, "reserved bits must be 0")
            if 2 < opcode < 8 or opcode > 10:
                return self._violation(1002, "invalid opcode")
            if opcode >= 8:
                if not first & _FIN:
                    return self._violation(1002, "fragmented control frame")
            elif opcode != _CONTINUATION:
                if self._message_opcode != 0:
                    return self._violation(1002, "expected a continuation frame")
            elif self._message_opcode == 0:
                return self._violation(1002, "unexpected continuation frame")
            elif self._n_fragments >= self._max_fragments:
                return self._violation(1009, f"message of more than {self._max_fragments} fragments")
            return 0
        second = self._head[1]
        if self._n_head == 2:
            if not second & _MASKED:
                return self._violation(1002, "incorrect masking")
            second &= 127
            if opcode >= 8 and second > 125:
                return self._violation(1002, "control frame too long")
            self._head_bytes = 6 if second < 126 else 8 if second == 126 else 14
            return 0
        second &= 127
        if self._n_head == self._head_bytes - 4 and second >= 126 or self._n_head == 3 and second < 126:
            size = second
            if second >= 126:
                size = 0
                for index in range(2, self._n_head):
                    size = size << 8 | self._head[index]
                if size < (126 if second == 126 else 65536):
                    return self._violation(1002, "length of more bytes than needed")
            if opcode < 8 and size > <uint64_t>(self._max_bytes - self._message_bytes):
                after = f" after reading {self._message_bytes} bytes" if self._message_bytes > 0 else ""
                return self._violation(
                    1009, f"frame with {size} bytes{after} exceeds limit of {self._max_bytes} bytes"
                )
            self._payload_left = <Py_ssize_t>size
        if self._n_head < self._head_bytes:
            return 0
        memcpy(self._key, self._head + self._n_head - 4, 4)
        self._n_head = 0
        self._opcode = opcode
        self._fin = first & _FIN != 0
        self._in_payload = True
        self._n_control = 0
        if opcode == _TEXT or opcode == _BINARY:
            self._message_opcode = opcode
            self._n_fragments = 1
            self._utf8_more = 0
        elif opcode == _CONTINUATION:
            self._n_fragments += 1
        if self._payload_left == 0:
            return self._payload(NULL, 0)
        return 0

    # The next bytes of a frame, at most as many as belong to it.
    cdef int _payload(self, uint8_t *data, Py_ssize_t n) except -1:
        cdef uint8_t key[4]
        cdef int index
        if n > 0:
            _unmask(data, n, self._key)
            memcpy(key, self._key, 4)
            for index in range(4):
                self._key[index] = key[(index + n) & 3]
        self._payload_left -= n
        if self._opcode >= 8:
            if n > 0:
                memcpy(self._control + self._n_control, data, n)
                self._n_control += n
        else:
            if self._message_opcode == _TEXT and not self._is_utf8(data, n):
                return self._violation(1007, "text that is not UTF-8")
            if self._payload_left == 0 and self._fin and self._message_bytes == 0:
                self._frame_ends()  # all of it lies here
                return self._message_ends(data, n)
            self._append(data, n)
        if self._payload_left > 0:
            return 0
        self._frame_ends()
        if self._opcode == _PING:
            self._event = (_PING, PyBytes_FromStringAndSize(<const char *>self._control, self._n_control))
        elif self._opcode == _CLOSE:
            return self._close_frame()
        elif self._opcode < 8 and self._fin:
            return self._message_ends(self._message, self._message_bytes)
        return 0

    cdef int _frame_ends(self) except -1:
        self._in_payload = False
        self.n_frames_left -= 1
        self._n_turn_frames += 1
        if self._message_opcode == 0 or (self._opcode < 8 and self._fin):
            self.rested = True
        return 0

    cdef int _message_ends(self, uint8_t *data, Py_ssize_t n) except -1:
        cdef uint8_t opcode = self._message_opcode
        self._message_opcode = 0  # the listener may look
        if opcode == _TEXT:
            if self._utf8_more > 0:
                return self._violation(1007, "text that is not UTF-8")
            self._text_ends(data, n, True)
        else:
            if not self._is_taken(data, n) and not self._is_over:
                self._event = (_BINARY, PyBytes_FromStringAndSize(<const char *>data, n))
        self._drop_message()
        return 0

    # A whole text message. `is_utf8`: it is known to be.
    cdef int _text_ends(self, const uint8_t *text, Py_ssize_t n, bint is_utf8) except -1:
        cdef TextAudio text_audio = self._text_audio
        cdef Py_ssize_t n_audio = 0
        if text_audio is not None and self._listener is not None and n <= self._buffer.size:
            n_audio = text_audio.find(text, n, self._buffer.audio)
            if n_audio > 0 and self._is_taken(self._buffer.audio, n_audio):
                text_audio.note(n, n_audio)
                return 0
        if self._is_over:  # the memory of the message is gone
            return 0
        if not is_utf8:
            self._utf8_more = 0
            if not self._is_utf8(text, n) or self._utf8_more > 0:
                return self._violation(1007, "text that is not UTF-8")
        self._event = (_TEXT, PyUnicode_DecodeUTF8(<const char *>text, n, NULL) if n > 0 else "")
        return 0

    cdef int _close_frame(self) except -1:
        cdef int code
        cdef Py_ssize_t n = self._n_control
        self.close_seen = True
        if n == 1:
            return self._violation(1002, "close frame too short")
        payload = PyBytes_FromStringAndSize(<const char *>self._control, n)
        if n == 0:
            self._event = (_CLOSE, NO_STATUS, "", payload)
        else:
            code = self._control[0] << 8 | self._control[1]
            if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006) or 3000 <= code < 5000):
                return self._violation(1002, "invalid status code")
            try:
                reason = payload[2:].decode()
            except UnicodeDecodeError:
                return self._violation(1007, "reason that is not UTF-8")
            self._event = (_CLOSE, code, reason, payload)
        self.is_stopped = True
        return 0

    cdef bint _is_taken(self, uint8_t *data, Py_ssize_t n) except -1:
        cdef bint is_taken
        cdef LiveAudio live = self._live
        listener = self._listener
        if listener is None:
            return False
        self._n_turn_bytes += n
        self._is_running = True
        try:
            if live is not None:
                is_taken = live.offer(data, n)
            else:
                is_taken = listener(PyBytes_FromStringAndSize(<const char *>data, n))
        finally:
            self._is_running = False
        return is_taken

    # Memory grows with what has come, not with what a header announces.
    cdef int _append(self, const uint8_t *data, Py_ssize_t n) except -1:
        cdef Py_ssize_t needed = self._message_bytes + n, capacity
        cdef uint8_t *message
        if n == 0:
            return 0
        if needed > self._message_capacity:
            capacity = min(max(needed, 2 * self._message_capacity), self._max_bytes)
            if self._fin:
                capacity = min(capacity, needed + self._payload_left)
            message = <uint8_t *>PyMem_RawRealloc(self._message, capacity)
            if message == NULL:
                raise MemoryError
            self._message, self._message_capacity = message, capacity
        memcpy(self._message + self._message_bytes, data, n)
        self._message_bytes = needed
        return 0

    # Whether the text may go on like this: see table 3-7 of the Unicode standard.
    cdef bint _is_utf8(self, const uint8_t *data, Py_ssize_t n) noexcept:
        cdef Py_ssize_t pos = 0
        cdef uint64_t word
        cdef uint8_t byte
        while pos < n:
            if self._utf8_more == 0:
                while pos + 8 <= n:
                    memcpy(&word, data + pos, 8)
                    if word & <uint64_t>0x8080808080808080:
                        break
                    pos += 8
                if pos == n:
                    break
            byte = data[pos]
            pos += 1
            if self._utf8_more > 0:
                if not self._utf8_low <= byte <= self._utf8_high:
                    return False
                self._utf8_more -= 1
                self._utf8_low, self._utf8_high = 0x80, 0xBF
            elif byte >= 0x80:
                self._utf8_low = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
                self._utf8_high = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
                if 0xC2 <= byte <= 0xDF:
                    self._utf8_more = 1
                elif 0xE0 <= byte <= 0xEF:
                    self._utf8_more = 2
                elif 0xF0 <= byte <= 0xF4:
                    self._utf8_more = 3
                else:
                    return False
        return True

    cdef int _violation(self, int code, str reason) except -1:
        self._event = (VIOLATION, code, reason)
        self.is_stopped = True
        return 0


cdef void _unmask(uint8_t *data, Py_ssize_t n, const uint8_t *key) noexcept nogil:
    cdef uint32_t half
    cdef uint64_t keys, word
    cdef Py_ssize_t index = 0
    memcpy(&half, key, 4)
    keys = <uint64_t>half << 32 | half  # the same bytes again, on either kind of machine
    while index + 8 <= n:
        memcpy(&word, data + index, 8)
        word ^= keys
        memcpy(data + index, &word, 8)
        index += 8
    while index < n:
        data[index] ^= (<const uint8_t *>&half)[index & 3]
        index += 1


def build_frame(int opcode, data):
    """A whole frame of a server, not masked. ``data``: str (in UTF-8) or a buffer of bytes; ``opcode``: 0..15, else
    ValueError. A control frame must have at most 125 bytes: ValueError. UnicodeEncodeError for half a surrogate pair.
    """
    cdef const char *text
    cdef const uint8_t[::1] view
    cdef Py_ssize_t n = 0
    if not 0 <= opcode <= 15:
        raise ValueError(f"opcode must be within 0..15, got {opcode}")
    if isinstance(data, str):
        text = PyUnicode_AsUTF8AndSize(data, &n)
        return _frame(opcode, text, n)
    view = data
    n = view.shape[0]
    return _frame(opcode, <const char *>&view[0] if n > 0 else NULL, n)


def build_close(int code, str reason not None):
    """A close frame; without a payload for code NO_STATUS. What does not fit of ``reason`` (123 bytes) is cut off
    between two characters. ValueError for a code that must not be sent.
    """
    if code == NO_STATUS:
        return _frame(_CLOSE, NULL, 0)
    if not (1000 <= code <= 1014 and code not in (1004, 1006) or 3000 <= code < 5000):
        raise ValueError(f"code {code} must not be sent")
    payload = code.to_bytes(2) + reason.encode()[:123].decode(errors="ignore").encode()
    return _frame(_CLOSE, PyBytes_AS_STRING(payload), len(payload))


cdef bytes _frame(int opcode, const char *data, Py_ssize_t n):
    cdef Py_ssize_t head = 2 if n < 126 else 4 if n < 65536 else 10, index
    cdef uint8_t *out
    if opcode >= 8 and n > 125:
        raise ValueError(f"a control frame must have at most 125 bytes, got {n}")
    frame = PyBytes_FromStringAndSize(NULL, head + n)
    out = <uint8_t *>PyBytes_AS_STRING(frame)
    out[0] = _FIN | opcode
    out[1] = n if n < 126 else 126 if n < 65536 else 127
    for index in range(2, head):
        out[index] = <uint8_t>(<uint64_t>n >> 8 * (head - 1 - index))
    if n > 0:
        memcpy(out + head, data, n)
    return frame
