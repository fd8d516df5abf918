from libc.stdint cimport uint32_t, uint64_t

from .websocket cimport FrameReceiver

cdef extern from "reader.h" nogil:
    ctypedef struct vg_ready_t:
        pass
    int vg_ready_open()
    void vg_ready_close(int set)
    int vg_ready_add(int set, int fd, uint64_t key)
    int vg_ready_arm(int set, int fd, uint64_t key, int is_armed)
    int vg_ready_remove(int set, int fd)
    int vg_ready_list(int set, vg_ready_t *events, int n)
    uint64_t vg_ready_key(const vg_ready_t *event)
    int vg_ready_has_more(const vg_ready_t *event)
    ptrdiff_t vg_ready_receive(int fd, void *data, size_t n)


# Of the socket of this number.
ctypedef struct reading_t:
    void *receiver                       # borrowed from `_receivers`; NULL: the number is not in use
    uint32_t generation                  # how often the number was added: events of a former socket are old
    bint is_reading
    bint is_armed                        # the set reports it


cdef class SocketReader:
    cdef object _loop                    # while a set is open
    cdef int _set                        # -1: none
    cdef reading_t *_readings            # by the number of the socket
    cdef int _capacity
    cdef dict _receivers

    cdef bint _open(self, object loop) except -1
    cdef int _close(self) except -1
    cdef int _make_room(self, int fd) except -1
    cdef reading_t *_reading(self, FrameReceiver receiver) noexcept
    cdef void _arm(self, int fd, bint is_armed) noexcept
    cdef void _fetch(self, const vg_ready_t *events, int n, int front) noexcept
    cdef Py_ssize_t _read(self, const vg_ready_t *event, bint is_late) noexcept
    cdef int _end(self, FrameReceiver receiver, object error) except -1
