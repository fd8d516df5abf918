/* Samples of 16 bits in a SampleRing: each is a whole number of 1/32768, as s16, u8, A-law and mu-law give them. */

#ifndef VOXGATE_RING_H
#define VOXGATE_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* out: the n samples as whole numbers. Returns 1 if all of them come back bit for bit from `vg_ring_widen`; otherwise,
 * also for -0.0 and NaN, 0, and `out` means nothing. Without branches, so that the compiler can use vectors. */
static inline int vg_ring_narrow(const float *in, ptrdiff_t n, int16_t *out) {
    uint32_t differences = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t before, after;
        float scaled = in[i] * 32768.0f;
        scaled = scaled > -32768.0f ? scaled : -32768.0f;
        scaled = scaled < 32767.0f ? scaled : 32767.0f;
        const int32_t whole = (int32_t)scaled;
        const float back = (float)whole * (1.0f / 32768.0f);
        memcpy(&before, &in[i], sizeof before);
        memcpy(&after, &back, sizeof after);
        differences |= before ^ after;
        out[i] = (int16_t)whole;
    }
    return differences == 0;
}

static inline void vg_ring_widen(const int16_t *in, ptrdiff_t n, float *out) {
    for (ptrdiff_t i = 0; i < n; i++) {
        out[i] = (float)in[i] * (1.0f / 32768.0f);
    }
}

#endif
