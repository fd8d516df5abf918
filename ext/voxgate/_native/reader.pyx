"""Reads the sockets of many clients in one callback of the event loop, and passes what came to their receivers."""

import contextvars
import os

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from .websocket cimport FrameReceiver

cdef enum:
    # In one turn of the event loop: about a millisecond of work. The rest comes in the next turn. The bytes are more than
    # so many messages of live audio have.
    _MOST_READS = 128
    _MOST_BYTES = 262144
    # A receiver's memory is fetched in so many steps, each from what the one before has fetched, during the reads of
    # the sockets in front of it.
    _FETCH_STEPS = 7

MOST_READS = _MOST_READS
MOST_BYTES = _MOST_BYTES


@cython.final
cdef class SocketReader:
    """Reads TCP sockets for `FrameReceiver`s, in place of their transports, whose reading is paused.

    A transport of uvloop takes the GIL twice for each read, looks for a buffer, enters a context and touches memory of
    its own that is no longer in the cache. This calls `recv` for up to MOST_READS sockets in one callback, until it has
    MOST_BYTES, keeps the GIL (decision 0003), and fetches the next receivers' memory in the meantime.

    Sockets are watched by a set of the operating system, which exists as long as there are receivers, for one event
    loop at a time. Callbacks run in an empty context (contextvars).

    When the client has ended its side, reading has failed, or a method of the receiver has raised, reading stops and
    ``receiver.on_read_end(error)`` is called, with None for the client's end.

    Threads: that of the event loop.
    """

    def __cinit__(self):
        self._set = -1
        self._receivers = {}

    def __dealloc__(self):
        if self._set >= 0:
            vg_ready_close(self._set)
        PyMem_RawFree(self._readings)

    def __reduce__(self):
        raise TypeError("a SocketReader belongs to one event loop and cannot be pickled or copied")

    def __len__(self):
        """How many receivers it reads for, or will when they `start`."""
        return len(self._receivers)

    def add(self, loop, FrameReceiver receiver not None, int fd):
        """Reads ``fd``, a TCP socket that does not block, for ``receiver`` from now on. It must stay open until
        `remove`. False, and nothing has changed: not on this system, no file descriptors are left, ``fd`` cannot be
        watched, or there are receivers of another loop that is not closed. RuntimeError before `set_up` of the
        receiver; ValueError when a reader has it already.
        """
        cdef reading_t *reading
        cdef uint32_t generation = 1
        if receiver._buffer is None:
            raise RuntimeError("set_up() of the receiver must be called first")
        if receiver._fd >= 0:
            raise ValueError("the receiver has a socket already")
        if fd < 0 or not self._open(loop):
            return False
        former = self._receivers.get(fd)
        if former is not None:  # its socket must have been closed: the number is given again
            self.remove(former)
            return self.add(loop, receiver, fd)
        if fd < self._capacity:
            generation = self._readings[fd].generation + 1
        if vg_ready_add(self._set, fd, _key(fd, generation)) != 0:
            self._close()
            return False
        try:  # now it is known to be a file descriptor, and no larger than those
            self._make_room(fd)
            self._receivers[fd] = receiver
        except MemoryError:
            vg_ready_remove(self._set, fd)
            self._close()
            raise
        reading = self._readings + fd
        reading.generation = generation
        reading.receiver = <void *>receiver
        reading.is_reading = reading.is_armed = True
        receiver._fd = fd
        return True

    def start(self, FrameReceiver receiver not None):
        """Reads again. False: the receiver is not in here."""
        cdef reading_t *reading = self._reading(receiver)
        if reading == NULL:
            return False
        reading.is_reading = True
        if not reading.is_armed:
            self._arm(receiver._fd, True)
        return True

    def stop(self, FrameReceiver receiver not None):
        """Does not read until `start`. False: the receiver is not in here."""
        cdef reading_t *reading = self._reading(receiver)
        if reading == NULL:
            return False
        reading.is_reading = False  # disarmed by the next event: most pauses are shorter
        return True

    def remove(self, FrameReceiver receiver not None):
        """Never reads for it again; must be called before its socket is closed. False: the receiver is not in here."""
        cdef reading_t *reading = self._reading(receiver)
        cdef int fd = receiver._fd
        if reading == NULL:
            return False
        vg_ready_remove(self._set, fd)
        reading.receiver = NULL
        receiver._fd = -1
        del self._receivers[fd]
        self._close()
        return True

    cdef bint _open(self, object loop) except -1:
        if self._set >= 0 and self._loop is not loop:
            if not self._loop.is_closed():
                return False
            for receiver in list(self._receivers.values()):  # nobody has told them
                self.remove(receiver)
            self._close()
        if self._set >= 0:
            return True
        self._set = vg_ready_open()
        if self._set < 0:
            return False
        self._loop = loop
        try:
            contextvars.Context().run(loop.add_reader, self._set, self._on_ready)
        except BaseException as error:
            vg_ready_close(self._set)
            self._set = -1
            self._loop = None
            if isinstance(error, (NotImplementedError, OSError)):
                return False
            raise
        return True

    # Unless there are receivers.
    cdef int _close(self) except -1:
        if len(self._receivers) > 0 or self._set < 0:
            return 0
        loop, self._loop = self._loop, None
        fd, self._set = self._set, -1
        try:
            if not loop.is_closed():
                loop.remove_reader(fd)
        finally:
            vg_ready_close(fd)
        return 0

    cdef int _make_room(self, int fd) except -1:
        cdef int capacity
        cdef reading_t *readings
        if fd < self._capacity:
            return 0
        capacity = max(fd + 1, 2 * self._capacity)
        readings = <reading_t *>PyMem_RawRealloc(self._readings, capacity * sizeof(reading_t))
        if readings == NULL:
            raise MemoryError
        memset(readings + self._capacity, 0, (capacity - self._capacity) * sizeof(reading_t))
        self._readings, self._capacity = readings, capacity
        return 0

    cdef reading_t *_reading(self, FrameReceiver receiver) noexcept:
        cdef int fd = receiver._fd
        if 0 <= fd < self._capacity and self._readings[fd].receiver == <void *>receiver:
            return self._readings + fd
        return NULL

    # An event comes at once if there is something to read now.
    cdef void _arm(self, int fd, bint is_armed) noexcept:
        cdef reading_t *reading = self._readings + fd
        reading.is_armed = is_armed
        vg_ready_arm(self._set, fd, _key(fd, reading.generation), is_armed)

    def _on_ready(self):
        cdef vg_ready_t events[_MOST_READS]
        cdef int index, n
        cdef Py_ssize_t n_bytes = 0
        n = vg_ready_list(self._set, events, _MOST_READS)
        for index in range(_FETCH_STEPS):
            self._fetch(events, n, index)
        for index in range(n):
            self._fetch(events, n, index + _FETCH_STEPS)
            n_bytes += self._read(events + index, n_bytes >= _MOST_BYTES)

    # The first step for the receiver of event `front`, the second for the one before it, and so on.
    cdef void _fetch(self, const vg_ready_t *events, int n, int front) noexcept:
        cdef void *receiver
        cdef int step, index
        for step in range(_FETCH_STEPS):
            index = front - step
            if 0 <= index < n:
                receiver = self._readings[_fd_of(vg_ready_key(events + index))].receiver
                if receiver != NULL:
                    (<FrameReceiver>receiver).fetch(step)

    # Returns how many bytes were read. `is_late`: none in this turn, the event is to come again. Not even an exception of
    # `on_read_end` keeps the other sockets from being read.
    cdef Py_ssize_t _read(self, const vg_ready_t *event, bint is_late) noexcept:
        cdef uint64_t key = vg_ready_key(event)
        cdef int fd = _fd_of(key), error
        cdef reading_t *reading = self._readings + fd
        cdef FrameReceiver receiver
        cdef ptrdiff_t n
        if reading.receiver == NULL or _key(fd, reading.generation) != key:
            return 0  # removed since
        if is_late or not reading.is_reading:
            if reading.is_armed:  # a socket that was reset is reported even then, once
                self._arm(fd, reading.is_reading)
            return 0
        receiver = <FrameReceiver>reading.receiver
        n = vg_ready_receive(fd, receiver._read, receiver._buffer.size)
        while n < 0 and errno == EINTR:
            n = vg_ready_receive(fd, receiver._read, receiver._buffer.size)
        error = errno
        if n > 0:
            if n == receiver._buffer.size or vg_ready_has_more(event):
                self._arm(fd, True)  # the rest has its turn after the other sockets
            try:
                receiver._receive(receiver._read, n)
            except BaseException as raised:
                self._end(receiver, raised)
        elif n == 0:
            self._end(receiver, None)
        elif error != EAGAIN:
            self._end(receiver, OSError(error, os.strerror(error)))
        return max(n, 0)

    cdef int _end(self, FrameReceiver receiver, object error) except -1:
        self.stop(receiver)
        receiver.on_read_end(error)
        return 0


cdef uint64_t _key(int fd, uint32_t generation) noexcept:
    return <uint64_t>generation << 32 | <uint32_t>fd


cdef int _fd_of(uint64_t key) noexcept:
    return <int><uint32_t>key
