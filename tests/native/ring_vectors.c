/* The conversions of a ring, compiled for other vectors than the build's: every sample comes back bit for bit, and a
 * packed chunk is neither read nor written past its end (as the sanitizers see it). */

#include "ring_isa.h"

#include <stdio.h>
#include <stdlib.h>

#define CHUNK (VG_PACK_BLOCK * VG_PACK_BLOCKS)
#define CHECK(condition)                                                                                               \
    if (!(condition)) {                                                                                                \
        fprintf(stderr, "line %d, round %d: %s\n", __LINE__, round, #condition);                                       \
        return 1;                                                                                                      \
    }

static uint64_t state = 88172645463325252u;

static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static int of_bits(int bits) {
    const int lowest = -(1 << (bits - 1));
    const uint32_t kind = next() % 4;
    return kind == 0 ? lowest : kind == 1 ? -lowest - 1 : lowest + (int)(next() % (1u << bits));
}

static int pack(int round) {
    int16_t samples[CHUNK];
    float back[CHUNK];
    uint8_t widths[VG_PACK_BLOCKS];
    for (int block = 0; block < VG_PACK_BLOCKS; block++) {
        const int bits = 1 + (int)(next() % 16);
        for (int i = 0; i < VG_PACK_BLOCK; i++) samples[VG_PACK_BLOCK * block + i] = (int16_t)of_bits(bits);
        samples[VG_PACK_BLOCK * block + next() % VG_PACK_BLOCK] = (int16_t) - (1 << (bits - 1));
        widths[block] = (uint8_t)bits;
    }
    uint8_t found[VG_PACK_BLOCKS];
    vg_pack_widths(samples, found);
    CHECK(memcmp(found, widths, sizeof widths) == 0)
    unsigned char *packed = malloc((size_t)vg_pack_bytes(widths));
    CHECK(packed != NULL)
    vg_pack(samples, widths, packed);
    vg_unpack(vg_ring_kernels_for(VG_PORTABLE), packed, 0, CHUNK, back);
    free(packed);
    for (int i = 0; i < CHUNK; i++) CHECK(back[i] == vg_ring_value(samples[i]))
    return 0;
}

static int narrow(int round) {
    static const float others[] = {1.0f,  -0.0f,  0.0f / 0.0f,          1e30f * 1e30f, -1e30f * 1e30f,
                                   1e30f, 1e-40f, -32769.0f / 32768.0f, 0.99999f,      1.0f / 65536.0f};
    float samples[67], back[67];
    int16_t whole[67];
    const int n = 1 + (int)(next() % 67);
    for (int i = 0; i < n; i++) samples[i] = vg_ring_value((int16_t)next());
    CHECK(vg_ring_narrow(samples, n, whole))
    vg_ring_kernels_for(VG_PORTABLE)->widen(whole, n, back);
    CHECK(memcmp(back, samples, (size_t)n * sizeof(float)) == 0)
    samples[next() % (uint32_t)n] = others[next() % 10];
    CHECK(!vg_ring_narrow(samples, n, whole))
    return 0;
}

int main(void) {
    for (int round = 0; round < 4000; round++) {
        if (pack(round) != 0 || narrow(round) != 0) return 1;
    }
    return 0;
}
