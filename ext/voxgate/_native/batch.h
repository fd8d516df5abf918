/* The waiting jobs of all streams, and which of them make the next batch. Plain C under one mutex that is held for
 * microseconds and never while anything is copied; nobody who holds it waits for Python's lock, so it may be taken with
 * or without that. Jobs and streams are pointers that are compared and handed back, never looked into.
 *
 * Three lanes: finals before speculative calls before interims. Within a lane start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair
 * Queueing", SIGCOMM 1996) over the streams, in samples: a stream's next job starts, in virtual time, where its last one
 * ended, or at the present of its lane when that is later; the earliest start is served, and its start becomes the
 * present. So a stream that was away returns at the present: it has saved up nothing, and owes nothing but its last
 * job. The streams with work lie in a heap by that start; those without are forgotten once the present has caught up
 * with them. */
#ifndef VOXGATE_BATCH_H
#define VOXGATE_BATCH_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a job costs its stream at least, in samples: a call on nothing is not for nothing. */
#define VG_MIN_COST 1024
/* After a job of another stream, this many of one stream are still believed to have company to wait for. */
#define VG_COMPANY 8
/* Streams that a batch passes over, at most, in its search for jobs of its group. */
#define VG_MAX_ASIDE 128
/* Streams without work of which the last job is remembered, at most. */
#define VG_MAX_PARKED 4096
#define VG_TABLE_MIN 64

/* Blocks that batches were in, kept for later ones: fresh memory of this size costs more to touch than to fill. */
#define VG_CACHED_BLOCKS 8
#define VG_CACHED_BYTES (64 << 20)
#define VG_BLOCK_ROUND (64 << 10)
/* With nothing to do for this long, they are given back. */
#define VG_IDLE_NS 1000000000LL

enum { VG_FINAL = 0, VG_SPECULATIVE = 1, VG_INTERIM = 2, VG_LANES = 3 }; /* in the order of service */

enum {
    VG_OK = 0,
    VG_EMPTY,          /* nothing there, or not enough yet: call again and wait */
    VG_CLOSED,
    VG_INTERRUPTED,
    VG_DUPLICATE,
    VG_FULL_JOBS,
    VG_FULL_SAMPLES,
    VG_FULL_STREAM_JOBS,
    VG_FULL_STREAM_SAMPLES,
    VG_NO_MEMORY
};

/* ------------------------------------------------------------------------------------------- a table by pointer */

typedef struct vg_node {
    struct vg_node *chain;
    const void *key;
} vg_node;

typedef struct {
    vg_node **slots;
    size_t size; /* a power of two, or 0 */
    size_t n;
} vg_table;

static inline size_t vg_slot(const vg_table *table, const void *key) {
    return (size_t)(((uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15ULL) >> 24) & (table->size - 1);
}

static inline int vg_table_resize(vg_table *table, size_t size) {
    vg_table grown = {(vg_node **)calloc(size, sizeof(vg_node *)), size, table->n};
    size_t i;
    if (grown.slots == NULL) return 0;
    for (i = 0; i < table->size; i++) {
        vg_node *node = table->slots[i];
        while (node != NULL) {
            vg_node *next = node->chain;
            size_t slot = vg_slot(&grown, node->key);
            node->chain = grown.slots[slot];
            grown.slots[slot] = node;
            node = next;
        }
    }
    free(table->slots);
    *table = grown;
    return 1;
}

/* Whether one more can be inserted. A table that cannot grow becomes slower, and nothing worse. */
static inline int vg_table_reserve(vg_table *table) {
    if (table->n >= table->size && !vg_table_resize(table, table->size ? 2 * table->size : VG_TABLE_MIN))
        return table->size > 0;
    return 1;
}

static inline vg_node *vg_table_find(const vg_table *table, const void *key) {
    vg_node *node = table->size ? table->slots[vg_slot(table, key)] : NULL;
    while (node != NULL && node->key != key) node = node->chain;
    return node;
}

static inline void vg_table_insert(vg_table *table, vg_node *node) {
    size_t slot = vg_slot(table, node->key);
    node->chain = table->slots[slot];
    table->slots[slot] = node;
    table->n++;
}

static inline void vg_table_remove(vg_table *table, vg_node *node) {
    vg_node **at = &table->slots[vg_slot(table, node->key)];
    while (*at != node) at = &(*at)->chain;
    *at = node->chain;
    table->n--;
    if (table->size > VG_TABLE_MIN && table->n < table->size / 8) vg_table_resize(table, table->size / 4);
}

/* --------------------------------------------------------------------------------------------------- the queue */

typedef struct vg_stream vg_stream;

typedef struct vg_entry {
    vg_node node;         /* its key is the job */
    void *owner;          /* what keeps `samples` alive */
    const float *samples; /* NULL: the taker fills the row */
    int64_t n;            /* samples */
    vg_stream *stream;
    struct vg_entry *prev, *next; /* of its stream and lane; of what was taken or drained, `next` alone */
    int64_t ticket;               /* order of arrival; below 0: put in front */
    const void *pin;              /* NULL: any taker may take it */
    int lane;
    int alone;
    const void *group; /* only jobs of one group are batched */
} vg_entry;

struct vg_stream {
    vg_node node; /* its key is the stream */
    vg_entry *head[VG_LANES], *tail[VG_LANES];
    int64_t start[VG_LANES]; /* virtual, of the first job waiting */
    int64_t end[VG_LANES];   /* virtual, of the last job taken */
    size_t at[VG_LANES];     /* in the lane's heap */
    int64_t n_jobs, n_samples;
    vg_stream *older, *newer; /* parked: without work, not yet forgotten */
};

typedef struct {
    vg_stream **heap;
    size_t n, size;
    int64_t present;  /* virtual */
    int64_t last_end; /* virtual, of all jobs taken */
    int64_t n_jobs;
    int64_t n_aside; /* streams with work that are not in the heap while a batch is picked */
} vg_lane;

typedef struct {
    void *data;
    size_t bytes;
} vg_block;

typedef struct {
    int64_t max_jobs, max_samples, stream_jobs, stream_samples;
    pthread_mutex_t mutex;
    pthread_cond_t work;    /* for takers who have found nothing */
    pthread_cond_t company; /* for takers in their window */
    int64_t n_idle, n_in_window;        /* takers */
    int64_t wanted_jobs, wanted_samples; /* what the most modest of those in their window waits for */
    int closed;
    vg_table jobs, streams;
    vg_lane lanes[VG_LANES];
    int64_t n_jobs, n_samples, n_alone, n_pinned;
    int64_t ticket, front_ticket;
    const void *last_stream;
    int company_expected;
    vg_stream *oldest, *newest;
    int64_t n_parked;
    vg_block blocks[VG_CACHED_BLOCKS];
    int n_blocks;
    size_t cached_bytes;
} vg_queue;

typedef struct {
    int64_t max_items;
    int64_t max_samples;  /* padded */
    int64_t room_samples; /* padded; of the arena, or INT64_MAX */
    int64_t window_ns;
    const int *interrupted; /* guarded by the mutex; NULL: the take cannot be interrupted */
    const void *pin;        /* of the taker, which takes jobs without a pin besides; NULL: those alone */
} vg_limits;

static inline int64_t vg_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Returns 0 when `until_ns` has passed. May return early for no reason. */
static inline int vg_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ns) {
    struct timespec at;
#ifdef __APPLE__
    int64_t left_ns = until_ns - vg_now_ns();
    if (left_ns <= 0) return 0;
    at.tv_sec = (time_t)(left_ns / 1000000000);
    at.tv_nsec = (long)(left_ns % 1000000000);
    pthread_cond_timedwait_relative_np(cond, mutex, &at);
#else
    at.tv_sec = (time_t)(until_ns / 1000000000);
    at.tv_nsec = (long)(until_ns % 1000000000);
    pthread_cond_timedwait(cond, mutex, &at);
#endif
    return vg_now_ns() < until_ns;
}

static inline int vg_queue_init(vg_queue *q) {
    pthread_condattr_t attributes;
    memset(q, 0, sizeof *q);
    if (pthread_condattr_init(&attributes)) return 0;
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    if (pthread_mutex_init(&q->mutex, NULL)) goto no_mutex;
    if (pthread_cond_init(&q->work, &attributes)) goto no_work;
    if (pthread_cond_init(&q->company, &attributes)) goto no_company;
    pthread_condattr_destroy(&attributes);
    q->wanted_jobs = q->wanted_samples = INT64_MAX;
    return 1;
no_company:
    pthread_cond_destroy(&q->work);
no_work:
    pthread_mutex_destroy(&q->mutex);
no_mutex:
    pthread_condattr_destroy(&attributes);
    return 0;
}

/* --- streams in a lane's heap, the earliest start on top; arrival breaks ties --- */

static inline int vg_before(const vg_stream *a, const vg_stream *b, int lane) {
    if (a->start[lane] != b->start[lane]) return a->start[lane] < b->start[lane];
    return a->head[lane]->ticket < b->head[lane]->ticket;
}

static inline void vg_heap_set(vg_lane *heap, size_t i, vg_stream *stream, int lane) {
    heap->heap[i] = stream;
    stream->at[lane] = i;
}

static inline void vg_heap_up(vg_lane *heap, size_t i, int lane) {
    vg_stream *stream = heap->heap[i];
    while (i > 0 && vg_before(stream, heap->heap[(i - 1) / 2], lane)) {
        vg_heap_set(heap, i, heap->heap[(i - 1) / 2], lane);
        i = (i - 1) / 2;
    }
    vg_heap_set(heap, i, stream, lane);
}

static inline void vg_heap_down(vg_lane *heap, size_t i, int lane) {
    vg_stream *stream = heap->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->n) break;
        if (child + 1 < heap->n && vg_before(heap->heap[child + 1], heap->heap[child], lane)) child++;
        if (!vg_before(heap->heap[child], stream, lane)) break;
        vg_heap_set(heap, i, heap->heap[child], lane);
        i = child;
    }
    vg_heap_set(heap, i, stream, lane);
}

static inline void vg_heap_fix(vg_lane *heap, size_t i, int lane) {
    vg_stream *stream = heap->heap[i];
    vg_heap_up(heap, i, lane);
    vg_heap_down(heap, stream->at[lane], lane);
}

static inline void vg_heap_add(vg_lane *heap, vg_stream *stream, int lane) {
    vg_heap_set(heap, heap->n++, stream, lane);
    vg_heap_up(heap, heap->n - 1, lane);
}

static inline void vg_heap_take_out(vg_lane *heap, vg_stream *stream, int lane) {
    size_t i = stream->at[lane];
    vg_stream *last = heap->heap[--heap->n];
    if (last != stream) {
        vg_heap_set(heap, i, last, lane);
        vg_heap_fix(heap, i, lane);
    }
}

static inline void vg_heap_remove(vg_lane *heap, vg_stream *stream, int lane) {
    vg_heap_take_out(heap, stream, lane);
    if (heap->n_aside == 0 && heap->size > VG_TABLE_MIN && heap->n < heap->size / 8) {
        vg_stream **less = (vg_stream **)realloc(heap->heap, heap->size / 4 * sizeof *less);
        if (less != NULL) {
            heap->heap = less;
            heap->size /= 4;
        }
    }
}

static inline int vg_heap_reserve(vg_lane *heap) {
    size_t size = heap->size ? 2 * heap->size : VG_TABLE_MIN;
    vg_stream **more;
    if (heap->n < heap->size) return 1;
    more = (vg_stream **)realloc(heap->heap, size * sizeof *more);
    if (more == NULL) return 0;
    heap->heap = more;
    heap->size = size;
    return 1;
}

/* --- streams without work --- */

static inline int vg_caught_up(const vg_queue *q, const vg_stream *stream) {
    int which;
    for (which = 0; which < VG_LANES; which++)
        if (stream->end[which] > q->lanes[which].present) return 0;
    return 1;
}

static inline void vg_unpark(vg_queue *q, vg_stream *stream) {
    *(stream->older ? &stream->older->newer : &q->oldest) = stream->newer;
    *(stream->newer ? &stream->newer->older : &q->newest) = stream->older;
    stream->older = stream->newer = NULL;
    q->n_parked--;
}

static inline void vg_forget(vg_queue *q, vg_stream *stream) {
    vg_table_remove(&q->streams, &stream->node);
    free(stream);
}

static inline void vg_park(vg_queue *q, vg_stream *stream) {
    stream->older = q->newest;
    stream->newer = NULL;
    *(q->newest ? &q->newest->newer : &q->oldest) = stream;
    q->newest = stream;
    q->n_parked++;
    while (q->oldest != NULL && (q->n_jobs == 0 || q->n_parked > VG_MAX_PARKED || vg_caught_up(q, q->oldest))) {
        vg_stream *oldest = q->oldest;
        vg_unpark(q, oldest);
        vg_forget(q, oldest);
    }
}

/* --- one job in, one job out; the mutex is held --- */

static inline int64_t vg_head_start(const vg_lane *lane, const vg_stream *stream, int which) {
    int64_t end = stream->end[which];
    if (stream->head[which]->ticket < 0 || end < lane->present) return lane->present;
    return end;
}

static inline void vg_unlink(vg_queue *q, vg_entry *entry) {
    vg_stream *stream = entry->stream;
    int which = entry->lane, was_head = stream->head[which] == entry;
    vg_lane *lane = &q->lanes[which];
    *(entry->prev ? &entry->prev->next : &stream->head[which]) = entry->next;
    *(entry->next ? &entry->next->prev : &stream->tail[which]) = entry->prev;
    entry->prev = entry->next = NULL;
    vg_table_remove(&q->jobs, &entry->node);
    stream->n_jobs--, lane->n_jobs--, q->n_jobs--, q->n_alone -= entry->alone, q->n_pinned -= entry->pin != NULL;
    stream->n_samples -= entry->n, q->n_samples -= entry->n;
    if (stream->head[which] == NULL) {
        vg_heap_remove(lane, stream, which);
        /* The end of a busy period: nobody is left to compare with. */
        if (lane->n + lane->n_aside == 0 && lane->present < lane->last_end) lane->present = lane->last_end;
    } else if (was_head) {
        stream->start[which] = vg_head_start(lane, stream, which);
        vg_heap_fix(lane, stream->at[which], which);
    }
    entry->stream = NULL;
    if (stream->n_jobs == 0) vg_park(q, stream);
}

static inline vg_entry *vg_first(const vg_queue *q) {
    int which;
    for (which = 0; which < VG_LANES; which++)
        if (q->lanes[which].n > 0) return q->lanes[which].heap[0]->head[which];
    return NULL;
}

/* The first job that a taker with this pin may take. Looks at every stream with work while any job is pinned: those are
 * few, one for each channel of a session that waits. */
static inline vg_entry *vg_first_for(const vg_queue *q, const void *pin) {
    int which;
    if (q->n_pinned == 0) return vg_first(q);
    for (which = 0; which < VG_LANES; which++) {
        const vg_lane *lane = &q->lanes[which];
        vg_entry *first = NULL;
        size_t i;
        for (i = 0; i < lane->n; i++) {
            vg_entry *entry = lane->heap[i]->head[which];
            if (first != NULL && !vg_before(lane->heap[i], first->stream, which)) continue;
            while (entry != NULL && entry->pin != NULL && entry->pin != pin) entry = entry->next;
            if (entry != NULL) first = entry;
        }
        if (first != NULL) return first;
    }
    return NULL;
}

static inline void vg_serve(vg_queue *q, vg_entry *entry) {
    vg_lane *lane = &q->lanes[entry->lane];
    vg_stream *stream = entry->stream;
    int which = entry->lane, was_head = stream->head[which] == entry;
    int64_t start = stream->start[entry->lane], end = start + (entry->n > VG_MIN_COST ? entry->n : VG_MIN_COST);
    if (lane->present < start) lane->present = start;
    if (entry->ticket >= 0) { /* What is served again has been paid for. */
        stream->end[entry->lane] = end;
        if (lane->last_end < end) lane->last_end = end;
    }
    vg_unlink(q, entry);
    if (!was_head) { /* It overtook jobs of its stream that are pinned elsewhere: they start later now. */
        stream->start[which] = vg_head_start(lane, stream, which);
        vg_heap_fix(lane, stream->at[which], which);
    }
}

/* After a change by which a waiting taker may have found work. Only a pinned job is not for all of them. */
static inline void vg_wake(vg_queue *q) {
    if (q->n_jobs == 0 || q->n_idle == 0) return;
    if (q->n_pinned > 0)
        pthread_cond_broadcast(&q->work);
    else
        pthread_cond_signal(&q->work);
}

static inline int vg_add(vg_queue *q, vg_entry *entry, const void *key, int front) {
    int which = entry->lane, was_empty;
    vg_lane *lane = &q->lanes[which];
    vg_stream *stream;
    if (q->closed) return VG_CLOSED;
    if (vg_table_find(&q->jobs, entry->node.key) != NULL) return VG_DUPLICATE;
    stream = (vg_stream *)vg_table_find(&q->streams, key);
    if (!front) {
        if (q->n_jobs >= q->max_jobs) return VG_FULL_JOBS;
        if (stream != NULL && stream->n_jobs >= q->stream_jobs) return VG_FULL_STREAM_JOBS;
        /* Whatever is bounded by samples takes one job, however long it is. */
        if (q->n_jobs > 0 && entry->n > q->max_samples - q->n_samples) return VG_FULL_SAMPLES;
        if (stream != NULL && stream->n_jobs > 0 && entry->n > q->stream_samples - stream->n_samples)
            return VG_FULL_STREAM_SAMPLES;
    }
    if (!vg_table_reserve(&q->jobs) || !vg_table_reserve(&q->streams)) return VG_NO_MEMORY;
    if (!vg_heap_reserve(lane)) return VG_NO_MEMORY;
    if (stream == NULL) {
        stream = (vg_stream *)calloc(1, sizeof *stream);
        if (stream == NULL) return VG_NO_MEMORY;
        stream->node.key = key;
        vg_table_insert(&q->streams, &stream->node);
    } else if (stream->n_jobs == 0) {
        vg_unpark(q, stream);
    }
    was_empty = stream->head[which] == NULL;
    entry->stream = stream;
    if (front) {
        entry->ticket = --q->front_ticket;
        entry->next = stream->head[which];
        *(entry->next ? &entry->next->prev : &stream->tail[which]) = entry;
        stream->head[which] = entry;
    } else {
        entry->ticket = q->ticket++;
        entry->prev = stream->tail[which];
        *(entry->prev ? &entry->prev->next : &stream->head[which]) = entry;
        stream->tail[which] = entry;
    }
    vg_table_insert(&q->jobs, &entry->node);
    stream->n_jobs++, lane->n_jobs++, q->n_jobs++, q->n_alone += entry->alone, q->n_pinned += entry->pin != NULL;
    stream->n_samples += entry->n, q->n_samples += entry->n;
    if (was_empty || front) {
        stream->start[which] = vg_head_start(lane, stream, which);
        if (was_empty)
            vg_heap_add(lane, stream, which);
        else
            vg_heap_fix(lane, stream->at[which], which);
    }
    if (key != q->last_stream) {
        if (q->last_stream != NULL) q->company_expected = VG_COMPANY;
        q->last_stream = key;
    } else if (q->company_expected > 0) {
        q->company_expected--;
    }
    return VG_OK;
}

/* --- what is called from outside; the mutex is not held --- */

static inline void vg_queue_wake(vg_queue *q) {
    pthread_mutex_lock(&q->mutex);
    if (q->n_in_window == 0 || q->n_pinned > 0) vg_wake(q);
    pthread_mutex_unlock(&q->mutex);
}

/* Without `wake`, a waiting taker notices the entry at the next vg_queue_wake. */
static inline int vg_queue_put(vg_queue *q, vg_entry *entry, const void *key, int front, int wake) {
    int result;
    pthread_mutex_lock(&q->mutex);
    result = vg_add(q, entry, key, front);
    if (result == VG_OK) {
        if (q->n_in_window > 0 && (q->n_jobs >= q->wanted_jobs || q->n_samples >= q->wanted_samples || q->n_alone > 0))
            pthread_cond_broadcast(&q->company);
        if (wake && (q->n_in_window == 0 || q->n_pinned > 0)) vg_wake(q);
    }
    pthread_mutex_unlock(&q->mutex);
    return result;
}

/* The entry of `job`, now the caller's; NULL when it is not here. */
static inline vg_entry *vg_queue_cancel(vg_queue *q, const void *job) {
    vg_entry *entry;
    pthread_mutex_lock(&q->mutex);
    entry = (vg_entry *)vg_table_find(&q->jobs, job);
    if (entry != NULL) vg_unlink(q, entry);
    pthread_mutex_unlock(&q->mutex);
    return entry;
}

static inline void vg_blocks_free(vg_queue *q) {
    while (q->n_blocks > 0) free(q->blocks[--q->n_blocks].data);
    q->cached_bytes = 0;
}

/* Takes nothing in any more and gives out all that is there, in the order in which it would have been served. */
static inline vg_entry *vg_queue_close(vg_queue *q) {
    vg_entry *first = NULL, **last = &first;
    pthread_mutex_lock(&q->mutex);
    q->closed = 1;
    while ((*last = vg_first(q)) != NULL) {
        vg_serve(q, *last);
        last = &(*last)->next;
    }
    vg_blocks_free(q);
    pthread_cond_broadcast(&q->work);
    pthread_cond_broadcast(&q->company);
    pthread_mutex_unlock(&q->mutex);
    return first;
}

/* Takes out the jobs of a pin: a list through `next`. */
static inline vg_entry *vg_queue_unpin(vg_queue *q, const void *pin) {
    vg_entry *first = NULL, **last = &first;
    int which;
    pthread_mutex_lock(&q->mutex);
    for (which = 0; which < VG_LANES; which++) {
        size_t i = 0;
        while (i < q->lanes[which].n && q->n_pinned > 0) {
            vg_entry *entry = q->lanes[which].heap[i]->head[which];
            while (entry != NULL && entry->pin != pin) entry = entry->next;
            if (entry == NULL) {
                i++;
                continue;
            }
            vg_unlink(q, entry);
            *last = entry;
            last = &entry->next;
            i = 0; /* The heap has changed. */
        }
    }
    pthread_mutex_unlock(&q->mutex);
    return first;
}

/* Every take with this flag returns, and so does every later one. */
static inline void vg_queue_interrupt(vg_queue *q, int *interrupted) {
    pthread_mutex_lock(&q->mutex);
    *interrupted = 1;
    pthread_cond_broadcast(&q->work);
    pthread_cond_broadcast(&q->company);
    pthread_mutex_unlock(&q->mutex);
}

static inline int vg_interrupted(const vg_limits *limits) {
    return limits->interrupted != NULL && *limits->interrupted;
}

static inline int vg_company_wanted(const vg_queue *q, const vg_limits *limits) {
    return limits->window_ns > 0 && !q->closed && !vg_interrupted(limits) && q->company_expected > 0
        && q->n_jobs < limits->max_items && q->n_samples < limits->max_samples && q->n_alone == 0;
}

static inline void vg_wait_for_company(vg_queue *q, const vg_limits *limits) {
    int64_t until_ns = vg_now_ns() + limits->window_ns;
    q->n_in_window++;
    while (q->n_jobs > 0 && vg_company_wanted(q, limits)) {
        if (limits->max_items < q->wanted_jobs) q->wanted_jobs = limits->max_items;
        if (limits->max_samples < q->wanted_samples) q->wanted_samples = limits->max_samples;
        if (!vg_wait_until(&q->company, &q->mutex, until_ns)) break;
    }
    if (--q->n_in_window == 0) q->wanted_jobs = q->wanted_samples = INT64_MAX;
}

static inline void vg_wait_for_work(vg_queue *q) {
    q->n_idle++;
    if (q->n_blocks == 0)
        pthread_cond_wait(&q->work, &q->mutex);
    else if (!vg_wait_until(&q->work, &q->mutex, vg_now_ns() + VG_IDLE_NS) && q->n_jobs == 0)
        vg_blocks_free(q);
    q->n_idle--;
}

/* Picks the next batch: a list through `next`, in the order of its rows. `n_items` of them, `width` samples the longest.
 * Without `may_wait` it returns VG_EMPTY instead of waiting. */
static inline int vg_queue_take(
    vg_queue *q, const vg_limits *limits, int may_wait, vg_entry **batch, int64_t *n_items, int64_t *width) {
    vg_entry *entry, **last = batch;
    vg_stream *aside[VG_MAX_ASIDE];
    int n_aside = 0, aside_lane = VG_FINAL;
    *batch = NULL, *n_items = 0, *width = 0;
    pthread_mutex_lock(&q->mutex);
    for (;;) {
        if (vg_interrupted(limits)) {
            vg_wake(q); /* the wake-up was perhaps for another */
            pthread_mutex_unlock(&q->mutex);
            return VG_INTERRUPTED;
        }
        if (vg_first_for(q, limits->pin) != NULL) {
            if (!vg_company_wanted(q, limits)) break;
            if (may_wait) vg_wait_for_company(q, limits);
            if (may_wait && vg_first_for(q, limits->pin) != NULL && !vg_interrupted(limits)) break;
        }
        if (q->closed && q->n_jobs == 0) {
            pthread_mutex_unlock(&q->mutex);
            return VG_CLOSED;
        }
        if (!may_wait) {
            pthread_mutex_unlock(&q->mutex);
            return VG_EMPTY;
        }
        if (vg_first_for(q, limits->pin) == NULL && !vg_interrupted(limits)) vg_wait_for_work(q);
    }
    while (*n_items < limits->max_items && (entry = vg_first_for(q, limits->pin)) != NULL) {
        int64_t wider = entry->n > *width ? entry->n : *width;
        if (*n_items > 0) {
            int64_t most = limits->max_samples < limits->room_samples ? limits->max_samples : limits->room_samples;
            /* No interim goes before a final that was passed over. */
            if (n_aside > 0 && entry->lane != aside_lane) break;
            if (entry->group != (*batch)->group) {
                if (n_aside == VG_MAX_ASIDE) break;
                aside_lane = entry->lane;
                vg_heap_take_out(&q->lanes[aside_lane], entry->stream, aside_lane);
                q->lanes[aside_lane].n_aside++;
                aside[n_aside++] = entry->stream;
                continue;
            }
            if (entry->alone || wider > most / (*n_items + 1)) break;
        }
        vg_serve(q, entry);
        *last = entry;
        last = &entry->next;
        *width = wider;
        ++*n_items;
        if (entry->alone) break;
    }
    /* They are the first in line for the next batch. */
    while (n_aside > 0) {
        q->lanes[aside_lane].n_aside--;
        vg_heap_add(&q->lanes[aside_lane], aside[--n_aside], aside_lane);
    }
    vg_wake(q);
    pthread_mutex_unlock(&q->mutex);
    return VG_OK;
}

/* Rows of `width` samples, one after the other: each entry's samples, then zeros. */
static inline void vg_gather(const vg_entry *entry, float *rows, int64_t width) {
    for (; entry != NULL; entry = entry->next, rows += width) {
        int64_t n = entry->samples != NULL ? entry->n : 0;
        if (n > 0) memcpy(rows, entry->samples, (size_t)n * sizeof *rows);
        if (width > n) memset(rows + n, 0, (size_t)(width - n) * sizeof *rows);
    }
}

/* A block of at least `bytes`, which becomes what it really has. NULL without memory. */
static inline void *vg_block_get(vg_queue *q, size_t *bytes) {
    void *data = NULL;
    int i, best = -1;
    if (*bytes < VG_BLOCK_ROUND) return malloc(*bytes > 0 ? *bytes : 1);
    pthread_mutex_lock(&q->mutex);
    for (i = 0; i < q->n_blocks; i++) {
        if (q->blocks[i].bytes < *bytes || q->blocks[i].bytes / 8 > *bytes) continue;
        if (best < 0 || q->blocks[i].bytes < q->blocks[best].bytes) best = i;
    }
    if (best >= 0) {
        data = q->blocks[best].data;
        *bytes = q->blocks[best].bytes;
        q->cached_bytes -= *bytes;
        q->blocks[best] = q->blocks[--q->n_blocks];
    }
    pthread_mutex_unlock(&q->mutex);
    if (data != NULL) return data;
    *bytes = (*bytes + VG_BLOCK_ROUND - 1) / VG_BLOCK_ROUND * VG_BLOCK_ROUND;
    return malloc(*bytes);
}

static inline void vg_block_put(vg_queue *q, void *data, size_t bytes) {
    if (bytes >= VG_BLOCK_ROUND) {
        pthread_mutex_lock(&q->mutex);
        if (!q->closed && q->cached_bytes + bytes <= VG_CACHED_BYTES) {
            vg_block block = {data, bytes};
            data = NULL;
            if (q->n_blocks == VG_CACHED_BLOCKS) { /* The one that came first makes room for the newest. */
                data = q->blocks[0].data;
                q->cached_bytes -= q->blocks[0].bytes;
                memmove(q->blocks, q->blocks + 1, (VG_CACHED_BLOCKS - 1) * sizeof q->blocks[0]);
                q->n_blocks--;
            }
            q->blocks[q->n_blocks++] = block;
            q->cached_bytes += bytes;
        }
        pthread_mutex_unlock(&q->mutex);
    }
    free(data);
}

/* After vg_queue_close, with nobody inside any more. */
static inline void vg_queue_destroy(vg_queue *q) {
    int which;
    vg_blocks_free(q);
    for (which = 0; which < VG_LANES; which++) free(q->lanes[which].heap);
    free(q->jobs.slots);
    free(q->streams.slots);
    pthread_cond_destroy(&q->company);
    pthread_cond_destroy(&q->work);
    pthread_mutex_destroy(&q->mutex);
}

typedef struct {
    int64_t n_finals, n_speculative, n_interims, n_samples, n_bytes;
} vg_depths;

static inline vg_depths vg_queue_depths(vg_queue *q) {
    vg_depths depths;
    size_t heaps = 0;
    int which;
    pthread_mutex_lock(&q->mutex);
    depths.n_finals = q->lanes[VG_FINAL].n_jobs;
    depths.n_speculative = q->lanes[VG_SPECULATIVE].n_jobs;
    depths.n_interims = q->lanes[VG_INTERIM].n_jobs;
    depths.n_samples = q->n_samples;
    for (which = 0; which < VG_LANES; which++) heaps += q->lanes[which].size;
    depths.n_bytes = (int64_t)(q->jobs.n * sizeof(vg_entry) + q->streams.n * sizeof(vg_stream)
        + (q->jobs.size + q->streams.size) * sizeof(vg_node *)
        + heaps * sizeof(vg_stream *) + q->cached_bytes);
    pthread_mutex_unlock(&q->mutex);
    return depths;
}

#endif
