/* Samples of 16 bits in a SampleRing: each is a whole number of 1/32768, as s16, u8, A-law and mu-law give them. */

#ifndef VOXGATE_RING_H
#define VOXGATE_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* What one instruction set reads with (ring_isa.h): a block of ring_pack.h, and n whole numbers. */
typedef struct {
    void (*unpack_block)(const unsigned char *in, int width, float *out);
    void (*widen)(const int16_t *in, ptrdiff_t n, float *out);
} vg_ring_kernels;

/* The sample that a whole number stands for. */
static inline float vg_ring_value(int16_t whole) {
    return (float)whole * (1.0f / 32768.0f);
}

/* out: the n samples as whole numbers. Returns 1 if all of them come back bit for bit from `vg_ring_value`; otherwise,
 * also for -0.0 and NaN, 0, and `out` means nothing. */
static inline int vg_ring_narrow(const float *in, ptrdiff_t n, int16_t *out) {
    uint32_t differences = 0;
    ptrdiff_t i = 0;
#ifdef __SSE2__ /* every x86-64; compilers make no good vectors of the loop below */
    const __m128 scale = _mm_set1_ps(32768.0f), unscale = _mm_set1_ps(1.0f / 32768.0f);
    __m128i different = _mm_setzero_si128();
    for (; i + 8 <= n; i += 8) {
        const __m128 a = _mm_loadu_ps(in + i), b = _mm_loadu_ps(in + i + 4);
        /* What does not fit becomes the largest or the smallest, and comes back as another. */
        const __m128i whole =
            _mm_packs_epi32(_mm_cvttps_epi32(_mm_mul_ps(a, scale)), _mm_cvttps_epi32(_mm_mul_ps(b, scale)));
        const __m128i low = _mm_srai_epi32(_mm_unpacklo_epi16(whole, whole), 16);
        const __m128i high = _mm_srai_epi32(_mm_unpackhi_epi16(whole, whole), 16);
        const __m128i back_a = _mm_castps_si128(_mm_mul_ps(_mm_cvtepi32_ps(low), unscale));
        const __m128i back_b = _mm_castps_si128(_mm_mul_ps(_mm_cvtepi32_ps(high), unscale));
        _mm_storeu_si128((__m128i *)(out + i), whole);
        different = _mm_or_si128(different, _mm_xor_si128(back_a, _mm_castps_si128(a)));
        different = _mm_or_si128(different, _mm_xor_si128(back_b, _mm_castps_si128(b)));
    }
    if (_mm_movemask_epi8(_mm_cmpeq_epi32(different, _mm_setzero_si128())) != 0xFFFF) return 0;
#endif
    for (; i < n; i++) {
        uint32_t before, after;
        float scaled = in[i] * 32768.0f;
        scaled = scaled > -32768.0f ? scaled : -32768.0f;
        scaled = scaled < 32767.0f ? scaled : 32767.0f;
        out[i] = (int16_t)scaled;
        const float back = vg_ring_value(out[i]);
        memcpy(&before, &in[i], sizeof before);
        memcpy(&after, &back, sizeof after);
        differences |= before ^ after;
        /* With SSE4.1 and on ARM, GCC 12 makes a truncf of (float)(int16_t)scaled, which keeps the sign of -0.0. */
        differences |= before == 0x80000000u;
    }
    return differences == 0;
}

#endif
