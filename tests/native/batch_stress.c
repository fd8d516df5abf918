/* The queue of batch.h hammered by threads of C: without Python's lock, which would keep most of them apart.
 * Every job is counted where it ends; exit code 0 when each ended once. */
#include "batch.h"

#include <stdio.h>

enum { PRODUCERS = 3, TAKERS = 3, CANCELLERS = 2, EACH = 20000, JOBS = PRODUCERS * EACH };

static vg_queue queue;
static char ends[JOBS]; /* written by who holds the entry, and that is one */
static int64_t n_taken[TAKERS], n_cancelled[CANCELLERS], n_refused[PRODUCERS];
static float samples[64];

static void end(vg_entry *entry) {
    ends[(const char *)entry->node.key - ends]++;
    free(entry);
}

static void *produce(void *argument) {
    int number = (int)(intptr_t)argument, i;
    for (i = 0; i < EACH; i++) {
        vg_entry *entry = (vg_entry *)calloc(1, sizeof *entry);
        int id = number * EACH + i;
        entry->node.key = &ends[id];
        entry->samples = samples;
        entry->n = i % 64;
        entry->lane = i % VG_LANES;
        entry->alone = i % 50 == 0;
        if (vg_queue_put(&queue, entry, (const void *)(uintptr_t)(1 + i % 97), i % 41 == 0, i % 3 == 0) != VG_OK) {
            n_refused[number]++;
            end(entry);
        }
        if (i % 8 == 7) vg_queue_wake(&queue);
    }
    return NULL;
}

static void *take(void *argument) {
    int number = (int)(intptr_t)argument;
    vg_limits limits = {1 + 5 * number, 600, 2000, number == 2 ? 20000 : 0, NULL, NULL};
    vg_entry *batch, *next;
    int64_t n_items, width;
    while (vg_queue_take(&queue, &limits, 1, &batch, &n_items, &width) == VG_OK) {
        size_t bytes = (size_t)(n_items * width) * sizeof(float) + VG_BLOCK_ROUND;
        float *rows = (float *)vg_block_get(&queue, &bytes);
        vg_gather(batch, rows, width);
        vg_block_put(&queue, rows, bytes);
        for (; batch != NULL; batch = next, n_items--) {
            next = batch->next;
            n_taken[number]++;
            end(batch);
        }
        if (n_items != 0) exit(3);
    }
    return NULL;
}

static void *cancel(void *argument) {
    int number = (int)(intptr_t)argument, i;
    unsigned luck = 1 + (unsigned)number;
    for (i = 0; i < JOBS; i++) {
        vg_entry *entry;
        luck = luck * 1664525u + 1013904223u;
        entry = vg_queue_cancel(&queue, &ends[luck % JOBS]);
        if (entry != NULL) {
            n_cancelled[number]++;
            end(entry);
        }
        if (i % 1000 == 0) vg_queue_depths(&queue);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[PRODUCERS + TAKERS + CANCELLERS];
    vg_entry *entry, *next;
    int64_t sum = 0;
    int i;
    if (!vg_queue_init(&queue)) return 2;
    queue.max_jobs = 500, queue.max_samples = 20000, queue.stream_jobs = 40, queue.stream_samples = 2000;
    for (i = 0; i < TAKERS; i++) pthread_create(&threads[PRODUCERS + i], NULL, take, (void *)(intptr_t)i);
    for (i = 0; i < PRODUCERS; i++) pthread_create(&threads[i], NULL, produce, (void *)(intptr_t)i);
    for (i = 0; i < CANCELLERS; i++) pthread_create(&threads[PRODUCERS + TAKERS + i], NULL, cancel, (void *)(intptr_t)i);
    for (i = 0; i < PRODUCERS; i++) pthread_join(threads[i], NULL);
    for (entry = vg_queue_close(&queue); entry != NULL; entry = next) {
        next = entry->next;
        end(entry);
    }
    for (i = PRODUCERS; i < PRODUCERS + TAKERS + CANCELLERS; i++) pthread_join(threads[i], NULL);
    for (i = 0; i < TAKERS; i++) sum += n_taken[i];
    for (i = 0; i < CANCELLERS; i++) sum += n_cancelled[i];
    printf("%lld taken or cancelled\n", (long long)sum);
    if (queue.n_jobs != 0 || queue.n_samples != 0 || queue.n_alone != 0 || queue.n_parked != 0 || queue.streams.n != 0)
        return 4;
    vg_queue_destroy(&queue);
    for (i = 0; i < JOBS; i++)
        if (ends[i] != 1) return 5;
    return sum > 0 ? 0 : 6;
}
