/* The energy of a frame, in vectors of four floats (the baseline of x86-64 and of arm64): sixteen running sums,
 * because one chain of additions would wait for each addition, and in an order that is the same in every build. */
#ifndef VOXGATE_ENERGY_H
#define VOXGATE_ENERGY_H

#include <stddef.h>
#include <string.h>

typedef float vg_float4 __attribute__((vector_size(16)));

static inline vg_float4 vg_load4(const float *p) {
    vg_float4 x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline float vg_sum4(vg_float4 a, vg_float4 b, vg_float4 c, vg_float4 d) {
    vg_float4 s = (a + b) + (c + d);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* Mean square of n >= 1 samples after their mean is taken off. Two passes: the difference of two large sums would lose
 * a quiet signal on a strong offset. Not finite when a sample is not, or when the squares overflow. */
static inline float vg_frame_power(const float *samples, ptrdiff_t n) {
    const vg_float4 zero = {0.0f, 0.0f, 0.0f, 0.0f};
    vg_float4 a = zero, b = zero, c = zero, d = zero;
    ptrdiff_t i, whole = n - n % 16;
    float sum, mean;
    for (i = 0; i < whole; i += 16) {
        a += vg_load4(samples + i);
        b += vg_load4(samples + i + 4);
        c += vg_load4(samples + i + 8);
        d += vg_load4(samples + i + 12);
    }
    sum = vg_sum4(a, b, c, d);
    for (; i < n; i++) sum += samples[i];
    mean = sum / (float)n;

    const vg_float4 means = {mean, mean, mean, mean};
    a = b = c = d = zero;
    for (i = 0; i < whole; i += 16) {
        vg_float4 p = vg_load4(samples + i) - means, q = vg_load4(samples + i + 4) - means;
        vg_float4 r = vg_load4(samples + i + 8) - means, s = vg_load4(samples + i + 12) - means;
        a += p * p;
        b += q * q;
        c += r * r;
        d += s * s;
    }
    sum = vg_sum4(a, b, c, d);
    for (; i < n; i++) sum += (samples[i] - mean) * (samples[i] - mean);
    return sum / (float)n;
}

#endif
