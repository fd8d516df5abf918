from libc.stdint cimport int64_t


cdef extern from "batch.h" nogil:
    ctypedef struct vg_node:
        const void *key

    ctypedef struct vg_entry:
        vg_node node
        void *owner
        const float *samples
        int64_t n
        vg_entry *next
        const void *pin
        int lane
        int alone
        const void *group

    ctypedef struct vg_queue:
        int64_t max_jobs
        int64_t max_samples
        int64_t stream_jobs
        int64_t stream_samples

    ctypedef struct vg_limits:
        int64_t max_items
        int64_t max_samples
        int64_t room_samples
        int64_t window_ns
        const int *interrupted
        const void *pin

    ctypedef struct vg_depths:
        int64_t n_finals
        int64_t n_speculative
        int64_t n_interims
        int64_t n_samples
        int64_t n_bytes

    int VG_FINAL, VG_SPECULATIVE, VG_INTERIM
    int VG_OK, VG_EMPTY, VG_CLOSED, VG_INTERRUPTED, VG_DUPLICATE, VG_NO_MEMORY
    int VG_FULL_JOBS, VG_FULL_SAMPLES, VG_FULL_STREAM_JOBS, VG_FULL_STREAM_SAMPLES

    int vg_queue_init(vg_queue *q)
    void vg_queue_destroy(vg_queue *q)
    int vg_queue_put(vg_queue *q, vg_entry *entry, const void *key, int front, int wake)
    void vg_queue_wake(vg_queue *q) nogil
    vg_entry *vg_queue_cancel(vg_queue *q, const void *job)
    int vg_queue_take(
        vg_queue *q, const vg_limits *limits, int may_wait, vg_entry **batch, int64_t *n_items, int64_t *width
    )
    vg_entry *vg_queue_close(vg_queue *q)
    vg_entry *vg_queue_unpin(vg_queue *q, const void *pin)
    void vg_queue_interrupt(vg_queue *q, int *interrupted)
    vg_depths vg_queue_depths(vg_queue *q)
    void vg_gather(const vg_entry *entry, float *rows, int64_t width)
    void *vg_block_get(vg_queue *q, size_t *bytes)
    void vg_block_put(vg_queue *q, void *data, size_t bytes)


cdef class Interrupt:
    cdef int _is_set


cdef class BatchQueue:
    cdef vg_queue _queue
    cdef bint _initialised

    cdef object _gathered(self, vg_entry *batch, int64_t n_items, int64_t width, arena, float *room, int64_t n_room)
    cdef object _refused(self, int result, int64_t n_samples)
