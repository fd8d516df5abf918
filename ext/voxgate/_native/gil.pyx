"""wait_for_gil: what a thread finds that needs Python's global interpreter lock (GIL) now and then."""

from libc.stdint cimport int64_t

cdef extern from "time.h" nogil:
    ctypedef int clockid_t
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    clockid_t CLOCK_MONOTONIC
    int clock_gettime(clockid_t clock, timespec *now)
    int nanosleep(const timespec *pause, timespec *left)


cdef int64_t _now_ns(clockid_t clock) noexcept nogil:
    cdef timespec now
    if clock_gettime(clock, &now) != 0:
        return -1
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


def wait_for_gil(int64_t pause_ns, int clock):
    """Pauses without the GIL for ``pause_ns`` (0..10**9) or longer, then takes the GIL again.

    Returns four numbers of ns: how long the pause took, how long the GIL was waited for after it, and by how much
    ``clock`` advanced during each of the two. ``clock``: the id of a clock, such as the CPU time of another thread
    (``time.pthread_getcpuclockid``).

    The second number begins after this thread was scheduled again: without a holder of the GIL it is below a few
    microseconds, however busy the machine is. ValueError for a pause out of range; OSError for a clock that does not
    exist, such as that of a thread that has ended. Any thread.
    """
    cdef timespec pause
    cdef int64_t began_ns, woke_ns, took_ns, began, woke, took
    if not 0 <= pause_ns <= 1000000000:
        raise ValueError(f"pause_ns must be within 0..1000000000, got {pause_ns}")
    pause.tv_sec = <long>(pause_ns // 1000000000)
    pause.tv_nsec = <long>(pause_ns % 1000000000)
    began_ns = _now_ns(CLOCK_MONOTONIC)
    began = _now_ns(clock)
    with nogil:
        nanosleep(&pause, NULL)
        woke = _now_ns(clock)
        woke_ns = _now_ns(CLOCK_MONOTONIC)
    took_ns = _now_ns(CLOCK_MONOTONIC)
    took = _now_ns(clock)
    if began < 0 or woke < 0 or took < 0:
        raise OSError(f"clock {clock} cannot be read")
    return woke_ns - began_ns, took_ns - woke_ns, woke - began, took - woke
