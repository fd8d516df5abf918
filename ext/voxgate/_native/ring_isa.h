/* Samples of 16 bits as floats, packed or not, once per instruction set. */

#ifndef VOXGATE_RING_ISA_H
#define VOXGATE_RING_ISA_H

#include "isa.h"
#include "ring.h"
#include "ring_pack.h"

#define VG_UNPACK_INLINE static inline __attribute__((always_inline))

/* Four lanes: SSE2, NEON, or what the compiler makes of it. */
typedef uint32_t vg_unpack_u4 __attribute__((vector_size(16)));
typedef float vg_unpack_f4 __attribute__((vector_size(16)));
VG_UNPACK_INLINE vg_unpack_u4 vg_unpack_words4(const unsigned char *p) {
#ifdef __SSE2__
    return (vg_unpack_u4)_mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i *)p), _mm_setzero_si128());
#else
    uint16_t words[4];
    memcpy(words, p, sizeof words);
    return (vg_unpack_u4){words[0], words[1], words[2], words[3]};
#endif
}
VG_UNPACK_INLINE vg_unpack_u4 vg_unpack_bytes4(const unsigned char *p) {
#ifdef __SSE2__
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    const __m128i zero = _mm_setzero_si128();
    return (vg_unpack_u4)_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero), zero);
#else
    return (vg_unpack_u4){p[0], p[1], p[2], p[3]};
#endif
}
#define VG_UNPACK_SUFFIX portable
#define VG_UNPACK_TARGET
#define VG_UNPACK_WIDTH 4
#define VG_UNPACK_VEC vg_unpack_u4
#define VG_UNPACK_VECF vg_unpack_f4
#define VG_UNPACK_WORDS(p) vg_unpack_words4(p)
#define VG_UNPACK_BYTES(p) vg_unpack_bytes4(p)
#include "ring_unpack.h"

#if VG_HAVE_X86
#include <immintrin.h>

typedef uint32_t vg_unpack_u8 __attribute__((vector_size(32)));
typedef float vg_unpack_f8 __attribute__((vector_size(32)));
#define VG_UNPACK_SUFFIX avx2
#define VG_UNPACK_TARGET VG_TARGET_AVX2
#define VG_UNPACK_WIDTH 8
#define VG_UNPACK_VEC vg_unpack_u8
#define VG_UNPACK_VECF vg_unpack_f8
#define VG_UNPACK_WORDS(p) ((vg_unpack_u8)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define VG_UNPACK_BYTES(p) ((vg_unpack_u8)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p))))
#include "ring_unpack.h"

typedef uint32_t vg_unpack_u16 __attribute__((vector_size(64)));
typedef float vg_unpack_f16 __attribute__((vector_size(64)));
#define VG_UNPACK_SUFFIX avx512
#define VG_UNPACK_TARGET VG_TARGET_AVX512
#define VG_UNPACK_WIDTH 16
#define VG_UNPACK_VEC vg_unpack_u16
#define VG_UNPACK_VECF vg_unpack_f16
#define VG_UNPACK_WORDS(p) ((vg_unpack_u16)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))))
#define VG_UNPACK_BYTES(p) ((vg_unpack_u16)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p))))
#include "ring_unpack.h"
#endif

/* The kernels of an instruction set that vg_isa_supported() allows. */
static inline const vg_ring_kernels *vg_ring_kernels_for(int isa) {
    switch (isa) {
#if VG_HAVE_X86
    case VG_AVX2:
        return &vg_ring_kernels_avx2;
    case VG_AVX512:
    case VG_AVX512_VNNI:
        return &vg_ring_kernels_avx512;
#endif
    default: /* NEON, too: the vectors of its architecture have four lanes */
        return &vg_ring_kernels_portable;
    }
}

/* The samples first to first + n - 1 of a packed chunk. */
static inline void vg_unpack(const vg_ring_kernels *kernels, const unsigned char *packed, ptrdiff_t first, ptrdiff_t n,
                             float *out) {
    const unsigned char *in = packed + VG_PACK_HEAD;
    float room[VG_PACK_BLOCK];
    for (int block = 0; block < VG_PACK_BLOCKS && n > 0; in += VG_PACK_LANES * packed[block], block++) {
        if (first >= VG_PACK_BLOCK) {
            first -= VG_PACK_BLOCK;
            continue;
        }
        const ptrdiff_t part = n < VG_PACK_BLOCK - first ? n : VG_PACK_BLOCK - first;
        if (part == VG_PACK_BLOCK) {
            kernels->unpack_block(in, packed[block], out);
        } else {
            kernels->unpack_block(in, packed[block], room);
            memcpy(out, room + first, (size_t)part * sizeof *out);
        }
        out += part;
        n -= part;
        first = 0;
    }
}

#endif
