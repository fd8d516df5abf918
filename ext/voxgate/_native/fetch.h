// Memory that is needed in a few microseconds is fetched into the cache meanwhile.

#ifndef VOXGATE_FETCH_H
#define VOXGATE_FETCH_H

#include <stddef.h>

// The cache lines from the one that `data` lies in on; any address will do.
static inline void vg_fetch(const void *data, int n_lines) {
    for (int line = 0; line < n_lines; line++)
        __builtin_prefetch((const char *)data + 64 * (ptrdiff_t)line);
}

#endif
