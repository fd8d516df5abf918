/* Chunks of 512 16-bit samples, with as few bits for each as the largest of its block of 128 needs. Exact.
 *
 * A block is 8 rows of 16 samples, and lane l has the bits of the samples l, l + 16, ... one behind the other, in words
 * of 16 bits. A width that is odd leaves half a word, which takes 8. So every step is one for all lanes, and where a
 * row lies follows from the width alone. A sample is stored without its sign: from 0, which is the lowest of the width.
 *
 * Of the samples come floats at once: ring_isa.h. */

#ifndef VOXGATE_RING_PACK_H
#define VOXGATE_RING_PACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define VG_PACK_BLOCK 128
#define VG_PACK_BLOCKS 4
#define VG_PACK_LANES 16
#define VG_PACK_HEAD 16 /* bytes; the first of them are the widths */

typedef int16_t vg_pack_i8 __attribute__((vector_size(16)));
typedef uint16_t vg_pack_u8 __attribute__((vector_size(16)));

static inline vg_pack_u8 vg_pack_load(const void *p) {
    vg_pack_u8 v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Bits of each sample of a block, with its sign: 1 to 16. */
static inline int vg_pack_width(const int16_t *in) {
    vg_pack_i8 all = {0};
    uint64_t halves[2];
    for (int i = 0; i < 16; i++) {
        const vg_pack_i8 v = (vg_pack_i8)vg_pack_load(in + 8 * i);
        all |= v ^ (v >> 15);
    }
    memcpy(halves, &all, sizeof halves);
    halves[0] |= halves[1];
    halves[0] |= halves[0] >> 32;
    const unsigned bits = (unsigned)((halves[0] | halves[0] >> 16) & 0xffff);
    return bits ? 33 - __builtin_clz(bits) : 1;
}

static inline void vg_pack_widths(const int16_t *in, uint8_t widths[VG_PACK_BLOCKS]) {
    for (int block = 0; block < VG_PACK_BLOCKS; block++) {
        widths[block] = (uint8_t)vg_pack_width(in + VG_PACK_BLOCK * block);
    }
}

/* Of a packed chunk, by the widths with which it begins. */
static inline ptrdiff_t vg_pack_bytes(const uint8_t *widths) {
    ptrdiff_t bytes = VG_PACK_HEAD;
    for (int block = 0; block < VG_PACK_BLOCKS; block++) bytes += VG_PACK_LANES * widths[block];
    return bytes;
}

/* The low bytes of 8 numbers below 256. */
static inline void vg_pack_store_bytes(unsigned char *out, vg_pack_u8 v) {
#ifdef __SSE2__
    const __m128i bytes = _mm_packus_epi16((__m128i)v, (__m128i)v);
    _mm_storel_epi64((__m128i *)out, bytes);
#else
    for (int lane = 0; lane < 8; lane++) out[lane] = (unsigned char)v[lane];
#endif
}

static inline void vg_pack(const int16_t *in, const uint8_t *widths, unsigned char *out) {
    memcpy(out, widths, VG_PACK_BLOCKS);
    out += VG_PACK_HEAD;
    for (int block = 0; block < VG_PACK_BLOCKS; block++) {
        const int width = widths[block];
        const uint16_t lowest = (uint16_t)(1u << (width - 1)); /* negative */
        for (int half = 0; half < 2; half++) { /* of the lanes */
            unsigned char *to = out + 16 * half;
            vg_pack_u8 word = {0};
            int filled = 0; /* bits of each lane of `word` */
            for (int row = 0; row < 8; row++) {
                const vg_pack_u8 v = vg_pack_load(in + 16 * row + 8 * half) + lowest;
                word |= v << filled;
                filled += width;
                if (filled >= 16) {
                    memcpy(to, &word, sizeof word);
                    to += 2 * sizeof word;
                    filled -= 16;
                    word = filled ? v >> (width - filled) : (vg_pack_u8){0};
                }
            }
            if (filled) vg_pack_store_bytes(to - 8 * half, word);
        }
        in += VG_PACK_BLOCK;
        out += VG_PACK_LANES * width;
    }
}

#endif
