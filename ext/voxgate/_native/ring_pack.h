/* Chunks of 512 16-bit samples, with as few bits for each as the largest of its block of 128 needs. Exact.
 *
 * A block is 16 vectors of 8 samples, and becomes `width` vectors: lane l has the bits of the samples l, l + 8, ... one
 * behind the other. So every step is one for 8 samples, on whatever vectors the baseline of the architecture has. */

#ifndef VOXGATE_RING_PACK_H
#define VOXGATE_RING_PACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VG_PACK_BLOCK 128
#define VG_PACK_BLOCKS 4
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
    for (int block = 0; block < VG_PACK_BLOCKS; block++) bytes += 16 * widths[block];
    return bytes;
}

static inline void vg_pack(const int16_t *in, const uint8_t *widths, unsigned char *out) {
    memcpy(out, widths, VG_PACK_BLOCKS);
    out += VG_PACK_HEAD;
    for (int block = 0; block < VG_PACK_BLOCKS; block++) {
        const int width = widths[block];
        const uint16_t mask = (uint16_t)(0xffffu >> (16 - width));
        vg_pack_u8 word = {0};
        int filled = 0; /* bits of each lane of `word` */
        for (int i = 0; i < 16; i++, in += 8) {
            const vg_pack_u8 v = vg_pack_load(in) & mask;
            word |= v << filled;
            filled += width;
            if (filled >= 16) {
                memcpy(out, &word, sizeof word);
                out += sizeof word;
                filled -= 16;
                word = filled ? v >> (width - filled) : (vg_pack_u8){0};
            }
        }
    }
}

static inline void vg_unpack(const unsigned char *in, int16_t *out) {
    const unsigned char *const widths = in;
    in += VG_PACK_HEAD;
    for (int block = 0; block < VG_PACK_BLOCKS; block++) {
        const int width = widths[block], rest = 16 - width;
        vg_pack_u8 word = vg_pack_load(in);
        int used = 0;
        for (int i = 0; i < 16; i++, out += 8) {
            vg_pack_u8 v = word >> used;
            used += width;
            if (used >= 16) {
                in += sizeof word;
                used -= 16;
                if (i < 15) word = vg_pack_load(in);
                if (used) v |= word << (width - used);
            }
            const vg_pack_i8 whole = (vg_pack_i8)(v << rest) >> rest;
            memcpy(out, &whole, sizeof whole);
        }
    }
}

#endif
