"""BatchQueue: the jobs of all streams that wait for the model, and the next batch of them. What happens in it stands in
batch.h."""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport isfinite
from libc.stdint cimport INT64_MAX, int64_t
from libc.stdlib cimport calloc, free

cimport numpy as cnp

cdef extern from "Python.h":
    int PyObject_GetBuffer(object exporter, Py_buffer *view, int flags) except -1
    void PyBuffer_Release(Py_buffer *view)
    int PyBUF_WRITABLE
    ctypedef struct Py_buffer:
        void *buf
        Py_ssize_t len

cnp.import_array()

# A batch of this many samples or more is copied without the GIL. Giving the GIL away for less work than that costs more
# than the work: to get it back takes up to a switch interval (5 ms) while another thread computes in Python.
cdef int64_t _NOGIL_SAMPLES = 1 << 16

# More than a bound ever is, and little enough that sums of a few do not overflow.
cdef int64_t _UNBOUNDED = 1 << 60

# A job without audio may claim this many samples: virtual time, a sum of such, does not overflow in millions of jobs.
cdef int64_t _MAX_SAMPLES = 1 << 40

# Windows are cut down to this: ten years.
cdef double _MAX_WINDOW_S = 3e8


@cython.final
@cython.no_gc
cdef class _Block:
    """Owner of the memory of a batch. When the last array that looks at it is gone, it goes back to the queue."""

    cdef void *data
    cdef size_t bytes
    cdef BatchQueue queue

    def __reduce__(self):
        raise TypeError("memory of a batch cannot be pickled")

    def __dealloc__(self):
        if self.data != NULL:
            vg_block_put(&self.queue._queue, self.data, self.bytes)


cdef void _release(vg_entry *entry) noexcept:
    """Gives up an entry and what it holds."""
    Py_DECREF(<object>entry.node.key)
    if entry.owner != NULL:
        Py_DECREF(<object>entry.owner)
    free(entry)


cdef list _jobs(vg_entry *entry):
    """The jobs of a list of entries, which is given up."""
    cdef list jobs = []
    cdef vg_entry *following
    while entry != NULL:
        following = entry.next
        jobs.append(<object>entry.node.key)
        _release(entry)
        entry = following
    return jobs


@cython.final
cdef class Interrupt:
    """Ends one taker's waiting: a `take` that was given it returns None from when ``BatchQueue.interrupt`` sets it,
    for good. Any thread may set and read it."""

    def __reduce__(self):
        raise TypeError("an Interrupt cannot be pickled or copied")

    @property
    def is_set(self) -> bool:
        return self._is_set != 0

    def set(self) -> None:
        """For queues of another kind: a taker that waits already is not woken by this."""
        self._is_set = 1


@cython.final
cdef class BatchQueue:
    """A bounded queue of jobs with audio, taken out in padded batches: finals, then speculative jobs, then interims, and within each the
    stream first that was served least.

    ``max_jobs``, ``max_samples``: bounds of all that waits. ``stream_jobs``, ``stream_samples``: of what waits of one
    stream; 0: only the bounds of all. A bound on samples always lets a single job through, however long it is.
    ValueError for less than 1 (less than 0 for those of a stream).

    A job and a stream are any objects; they are told apart by identity and never looked into. The queue holds a
    reference to a job and to its audio until it is taken, cancelled or drained, and none to a stream. References are
    not seen by the garbage collector: who drops a queue calls ``close`` first.

    Service is counted in samples, at least 1024 a job, by start-time fair queueing. Within a stream and lane, jobs
    leave in the order in which they came. Memory follows what waits; besides, up to 8 blocks (64 MiB) that batches
    were in are kept for the next, and given back when a taker has waited for a second.

    Threads: everything may be called by any thread at any time. ``take`` waits without the GIL; nothing else waits.
    A forked child leaves the queues of its parent alone: a lock that a thread held then is never given back there.
    """

    def __cinit__(
        self, Py_ssize_t max_jobs, Py_ssize_t max_samples, Py_ssize_t stream_jobs=0, Py_ssize_t stream_samples=0
    ):
        for name, bound, least in (
            ("max_jobs", max_jobs, 1),
            ("max_samples", max_samples, 1),
            ("stream_jobs", stream_jobs, 0),
            ("stream_samples", stream_samples, 0),
        ):
            if bound < least:
                raise ValueError(f"{name} must be at least {least}, got {bound}")
        if not vg_queue_init(&self._queue):
            raise MemoryError("no memory for a queue")
        self._initialised = True
        self._queue.max_jobs = min(max_jobs, _UNBOUNDED)
        self._queue.max_samples = min(max_samples, _UNBOUNDED)
        self._queue.stream_jobs = min(stream_jobs or max_jobs, _UNBOUNDED)
        self._queue.stream_samples = min(stream_samples or max_samples, _UNBOUNDED)

    def __dealloc__(self):
        if self._initialised:
            _jobs(vg_queue_close(&self._queue))
            vg_queue_destroy(&self._queue)

    def __reduce__(self):
        raise TypeError("a BatchQueue cannot be pickled or copied")

    def __len__(self) -> int:
        """How many jobs wait."""
        cdef vg_depths depths = vg_queue_depths(&self._queue)
        return depths.n_finals + depths.n_speculative + depths.n_interims

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken: for bookkeeping, and blocks kept for the next batches; the jobs' audio aside."""
        return vg_queue_depths(&self._queue).n_bytes

    def depths(self):
        """How many finals, interims, samples of all, and speculative jobs, wait."""
        cdef vg_depths depths = vg_queue_depths(&self._queue)
        return depths.n_finals, depths.n_interims, depths.n_samples, depths.n_speculative

    def put(
        self, job, audio, stream, bint final=True, Py_ssize_t n_samples=-1, bint alone=False, bint front=False,
        group=None, bint speculative=False, pin=None, bint wake=True
    ):
        """Adds ``job``, which must not be here already (ValueError).

        ``audio``: float32, shape (n,); it must not change while it waits. None: the taker fills the row in, of
        ``n_samples``. ``stream``: whose job it is. ``final``: the lane, unless it is ``speculative``. ``alone``: it is never batched. ``front``: it
        was taken before, and is served again before everything else of its lane, within no bounds and at no cost.
        ``group``: any object, compared by identity and held by the caller as long as the job is here; a batch has jobs
        of one group only. It begins with the job that is served next in any case, and goes on with the next ones of
        its group, in the fair order; those that it passes over (up to 128 streams) keep their place.
        ``pin``: an object, by identity, that lives as long as the job waits: only a taker with the same pin takes the
        job, and others take what is behind it. None: any taker. ``wake``: a taker that waits takes the job now; False:
        not before the next ``wake``, so that several jobs cost one wake-up.

        BufferError, saying which bound was reached, when there is no room; RuntimeError after ``close``. TypeError or
        ValueError for audio of another form.
        """
        cdef vg_entry *entry
        cdef cnp.ndarray samples = None
        cdef int result
        if audio is not None:
            if not cnp.PyArray_Check(audio) or cnp.PyArray_TYPE(<cnp.ndarray>audio) != cnp.NPY_FLOAT32:
                came = f"an array of {audio.dtype}" if cnp.PyArray_Check(audio) else type(audio).__name__
                raise TypeError(f"audio must be a float32 array of shape (n,), got {came}")
            if cnp.PyArray_NDIM(<cnp.ndarray>audio) != 1:
                raise ValueError(f"audio must have shape (n,), got {audio.shape}")
            samples = <cnp.ndarray>audio
            if not cnp.PyArray_ISCARRAY_RO(samples):
                samples = cnp.PyArray_FROMANY(audio, cnp.NPY_FLOAT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)
            n_samples = cnp.PyArray_SIZE(samples)
        elif not 0 <= n_samples <= _MAX_SAMPLES:
            raise ValueError(f"n_samples must be 0..{_MAX_SAMPLES} without audio, got {n_samples}")
        entry = <vg_entry *>calloc(1, sizeof(vg_entry))
        if entry == NULL:
            raise MemoryError("no memory for a job")
        entry.node.key = <const void *>job
        Py_INCREF(job)
        if samples is not None:
            entry.samples = <const float *>cnp.PyArray_DATA(samples)
            entry.owner = <void *>samples
            Py_INCREF(samples)
        entry.n = n_samples
        entry.lane = VG_SPECULATIVE if speculative else VG_FINAL if final else VG_INTERIM
        entry.alone = alone
        entry.pin = NULL if pin is None else <const void *>pin
        entry.group = <const void *>group
        result = vg_queue_put(&self._queue, entry, <const void *>stream, front, wake)
        if result != VG_OK:
            _release(entry)
            raise self._refused(result, n_samples)

    def wake(self) -> None:
        """Wakes takers for the jobs that were put without it."""
        # Without the GIL, a taker that starts at once need not wait for it.
        with nogil:
            vg_queue_wake(&self._queue)

    def cancel(self, job) -> bool:
        """Takes ``job`` out. False when it is not here (any more)."""
        cdef vg_entry *entry = vg_queue_cancel(&self._queue, <const void *>job)
        if entry == NULL:
            return False
        _release(entry)
        return True

    def take(
        self, Py_ssize_t max_items, Py_ssize_t max_samples=0, double window_s=0.0, arena=None, Interrupt interrupt=None,
        pin=None
    ):
        """Waits for jobs and takes a batch of 1..``max_items``: a list of jobs, their audio and its lengths.

        The audio is float32, shape (items, samples), zero-padded, and the lengths int64, shape (items,), as a Batch
        has them. Rows of jobs without audio are zeros. ``max_samples``: how large the padded audio may become by a job
        that is added; 0: any size. ``window_s``: for how long to wait for company while there is less than
        ``max_items``; not when a single stream has put all of the last eight jobs, for it would wait for itself.

        ``arena``: a writable buffer, aligned to 4 bytes, at the beginning of which the audio then lies; the batch fits
        into it. A job that alone does not is taken alone, and its audio is None (as it is without an arena when there is
        no memory for the batch). Without an arena, the audio of a batch of one is a view of the array that was put, if
        that had the right form.

        ``pin``: of the taker, which gets the jobs of this pin and those without any; None: those alone.

        Returns None when the queue is closed, or ``interrupt`` is set: then no job is taken. ValueError for
        ``max_items`` below 1, a negative number elsewhere, or an arena that is not aligned; BufferError or TypeError
        for one that is no writable buffer.
        """
        cdef vg_limits limits
        cdef vg_entry *batch = NULL
        cdef int64_t n_items = 0, width = 0
        cdef int result
        cdef Py_buffer view
        cdef float *room = NULL
        if max_items < 1:
            raise ValueError(f"max_items must be at least 1, got {max_items}")
        if max_samples < 0:
            raise ValueError(f"max_samples must be at least 0, got {max_samples}")
        if not (isfinite(window_s) and window_s >= 0):
            raise ValueError(f"window_s must be at least 0, got {window_s}")
        limits.max_items = max_items
        limits.max_samples = max_samples or INT64_MAX
        limits.room_samples = INT64_MAX
        limits.window_ns = <int64_t>(min(window_s, _MAX_WINDOW_S) * 1e9)
        limits.interrupted = NULL if interrupt is None else &interrupt._is_set
        limits.pin = NULL if pin is None else <const void *>pin
        if arena is not None:
            # Held only for this look: the arena is the caller's, who keeps it alive and as it is during the call.
            PyObject_GetBuffer(arena, &view, PyBUF_WRITABLE)
            room = <float *>view.buf
            limits.room_samples = view.len // <Py_ssize_t>sizeof(float)
            PyBuffer_Release(&view)
            if <size_t>room % sizeof(float):
                raise ValueError("the arena must be aligned to 4 bytes")
        result = vg_queue_take(&self._queue, &limits, False, &batch, &n_items, &width)
        if result == VG_EMPTY:
            with nogil:
                result = vg_queue_take(&self._queue, &limits, True, &batch, &n_items, &width)
        if result == VG_CLOSED or result == VG_INTERRUPTED:
            return None
        return self._gathered(batch, n_items, width, arena, room, limits.room_samples)

    cdef object _gathered(self, vg_entry *batch, int64_t n_items, int64_t width, arena, float *room, int64_t n_room):
        cdef cnp.npy_intp[2] shape
        cdef cnp.ndarray lengths
        cdef int64_t *length
        cdef vg_entry *entry
        cdef _Block block
        cdef float *rows = room
        cdef size_t n_bytes
        cdef object audio = None
        try:
            shape[0] = n_items
            shape[1] = width
            lengths = cnp.PyArray_SimpleNew(1, shape, cnp.NPY_INT64)
            length = <int64_t *>cnp.PyArray_DATA(lengths)
            entry = batch
            while entry != NULL:
                length[0] = entry.n
                length += 1
                entry = entry.next
            if arena is None and n_items == 1 and batch.owner != NULL and cnp.PyArray_ISCARRAY(<cnp.ndarray>batch.owner):
                audio = cnp.PyArray_SimpleNewFromData(2, shape, cnp.NPY_FLOAT32, <void *>batch.samples)
                cnp.set_array_base(audio, <object>batch.owner)
            elif arena is None:
                block = _Block.__new__(_Block)
                block.queue = self
                rows = NULL
                if width <= _UNBOUNDED // n_items:      # else its size in bytes overflows, and there is no such memory
                    n_bytes = <size_t>(n_items * width) * sizeof(float)
                    rows = <float *>vg_block_get(&self._queue, &n_bytes)
                    block.data = rows
                    block.bytes = n_bytes
                arena = block
            elif width > n_room // n_items:
                rows = NULL
            if rows != NULL:
                if n_items * width < _NOGIL_SAMPLES:
                    vg_gather(batch, rows, width)
                else:
                    with nogil:
                        vg_gather(batch, rows, width)
                audio = cnp.PyArray_SimpleNewFromData(2, shape, cnp.NPY_FLOAT32, rows)
                cnp.set_array_base(audio, arena)
        finally:
            jobs = _jobs(batch)
        return jobs, audio, lengths

    def interrupt(self, Interrupt interrupt not None) -> None:
        """Sets ``interrupt``, and wakes the takers that were given it. Harmless when done twice."""
        vg_queue_interrupt(&self._queue, &interrupt._is_set)

    def unpin(self, pin not None) -> list:
        """Takes out the jobs of ``pin``, and returns them."""
        return _jobs(vg_queue_unpin(&self._queue, <const void *>pin))

    def close(self) -> list:
        """Takes in nothing more, wakes every taker up, and returns the jobs that wait, in the order in which they
        would have been taken. Closing twice is harmless."""
        return _jobs(vg_queue_close(&self._queue))

    cdef object _refused(self, int result, int64_t n_samples):
        cdef vg_queue *q = &self._queue
        if result == VG_CLOSED:
            return RuntimeError("the queue is closed")
        if result == VG_DUPLICATE:
            return ValueError("the job waits already")
        if result == VG_FULL_JOBS:
            return BufferError(f"{q.max_jobs} jobs wait already")
        if result == VG_FULL_SAMPLES:
            return BufferError(f"no room for {n_samples} samples more: at most {q.max_samples} may wait")
        if result == VG_FULL_STREAM_JOBS:
            return BufferError(f"{q.stream_jobs} jobs of the stream wait already")
        if result == VG_FULL_STREAM_SAMPLES:
            return BufferError(f"no room for {n_samples} samples more: at most {q.stream_samples} of a stream may wait")
        return MemoryError("no memory for a job")
