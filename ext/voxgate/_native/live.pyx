"""The audio of one open session, from a websocket's read buffer into the session without a line of Python."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject_Size

from .intake cimport INTAKE_DECLINED, INTAKE_WAITING, Intake, PcmIntake
from .ring cimport SampleRing

cdef extern from "fetch.h" nogil:
    void vg_fetch(const void *data, int n_lines)


@cython.final
cdef class LiveAudio:
    """Listens to a websocket for one session (see `websocket.FrameReceiver`), or is called with each message, bytes.

    A message goes straight into ``intake`` as long as ``is_open``, ``unchecked`` is empty, no event waits in ``texts``,
    and it has at most ``max_bytes``; any other is given to ``otherwise``, as bytes, which says whether it took it.

    With an `Intake`, ``waiting`` has the sessions with frames to look at, and what to call with the outcome, here
    ``on_frames``; ``schedule`` is called after the first one is added. With a `RingIntake`, both are None, and
    ``on_frames`` is called with nothing when a ring holds enough. ``clock``: seconds; ``heard_s`` is when the last
    message was taken here. ``count``: a writable buffer of two int64, of messages and bytes, to which each is added.
    ``on_failure``: called, as the handler of an exception of the session, with nothing; the message counts as taken.

    Threads: one caller at a time, on the thread that owns the session; the GIL is kept.
    """

    def __cinit__(
        self, PcmIntake intake not None, *, Py_ssize_t max_bytes, dict unchecked not None, texts, dict waiting, schedule,
        on_frames, clock, long long[::1] count not None, otherwise, on_failure
    ):
        if count.shape[0] != 2:
            raise ValueError(f"count must have 2 numbers, got {count.shape[0]}")
        if (type(intake) is Intake) != (waiting is not None):
            raise TypeError(f"waiting must be {'a dict' if waiting is None else 'None'} with this intake")
        self._intake = intake
        self._session = (<Intake>intake).session if type(intake) is Intake else None
        self._max_bytes = max_bytes
        self._unchecked = unchecked
        self._texts = texts
        self._waiting = waiting
        self._schedule = schedule
        self._on_frames = on_frames
        self._clock = clock
        self._count = count
        self._otherwise = otherwise
        self._on_failure = on_failure
        self.heard_s = clock()

    def __reduce__(self):
        raise TypeError("a LiveAudio belongs to one session and cannot be pickled or copied")

    def __call__(self, data):
        """Whether ``data`` was taken. TypeError unless it is bytes."""
        if not PyBytes_CheckExact(data):
            raise TypeError(f"data must be bytes, got {type(data).__name__}")
        return self.offer(<const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef bint offer(self, const unsigned char *data, Py_ssize_t n_bytes) except -1:
        cdef int taken = INTAKE_DECLINED
        cdef bint is_first
        if (
            self.is_open and 0 < n_bytes <= self._max_bytes
            and len(self._unchecked) == 0 and PyObject_Size(self._texts) == 0
        ):
            try:
                taken = self._intake.take_bytes(data, n_bytes)
            except Exception:
                self._note(n_bytes)
                self._on_failure()
                return True
        if taken == INTAKE_DECLINED:
            return self._otherwise(PyBytes_FromStringAndSize(<const char *>data, n_bytes))
        self._note(n_bytes)
        if taken == INTAKE_WAITING and self._session is not None:
            is_first = len(self._waiting) == 0
            self._waiting[self._session] = self._on_frames
            if is_first:
                self._schedule()
        elif taken == INTAKE_WAITING:
            try:
                self._on_frames()
            except Exception:
                self._on_failure()
        return True

    cdef void fetch(self, int step) noexcept:
        if step == 1:
            vg_fetch(<void *>self, 4)
        elif step == 2:
            vg_fetch(<void *>self._intake, 2)
            vg_fetch(<void *>self._session, 3)
            vg_fetch(<void *>self._unchecked, 1)
            vg_fetch(<void *>self._texts, 1)
        elif step == 3:
            vg_fetch(<void *>self._intake.decoder, 2)
            vg_fetch(<void *>self._intake.resampler, 3)
            if self._session is not None:
                vg_fetch(self._session._rings, 1)
                vg_fetch(<void *>self._session._events, 2)
                vg_fetch(<void *>self._session.config, 2)
        elif self._session is not None and step == 4:
            vg_fetch(self._session._rings[0], 2)
        elif self._session is not None:
            (<SampleRing>self._session._rings[0]).ring_fetch(step - 5)

    cdef int _note(self, Py_ssize_t n_bytes) except -1:
        self.heard_s = self._clock()
        self._count[0] += 1
        self._count[1] += n_bytes
        return 0
