/* The inner products of the resampler, once per instruction set.
 *
 * Every output is the inner product of one row of coefficients and one stretch of input. Lane l of the accumulator
 * takes the taps l, l + width, l + 2 * width, ...; the lanes are then added in one fixed tree. Neither depends on the
 * place of an output in its block, so an output is the same to the last bit however the input was cut. Blocks of four
 * or eight outputs hide the latency of the additions and share the tree. */
#ifndef VOXGATE_RESAMPLE_ISA_H
#define VOXGATE_RESAMPLE_ISA_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "isa.h"

#define RS_INLINE static inline __attribute__((always_inline))

/* What a call needs to know of a ratio. Output m lies at the input position m * in_step / out_step (the two rates in
 * lowest terms). */
typedef struct {
    int64_t in_step, out_step;
    const float *rows; /* of `taps` floats each, 64-byte aligned */
    ptrdiff_t taps;    /* multiple of 16 */
    int64_t n_rows;
    /* Not NULL: row r belongs to the outputs m with m % out_step == r, and positions[r] is floor(r * in_step /
     * out_step). Three more of both follow, so that a block of four need not look for the end. The rows stand in the
     * order in which outputs use them: a long table streams through the cache.
     * NULL: n_rows + 1 rows, row r for the fraction r / n_rows; an output takes its coefficients from between two. */
    const int32_t *positions;
} rs_ratio_t;

/* A block is computed whole even when fewer outputs are wanted: up to RS_SPARE_OUTPUTS more are looked at and dropped,
 * so the input must be readable (whatever it holds) for as many steps beyond the last stretch. */
#define RS_SPARE_OUTPUTS 7

/* `count` outputs of `channels` channels. The first output's stretch starts at `in` (channel c: in + c * in_stride);
 * its number modulo out_step is `row`. */
typedef void (*rs_run_t)(const rs_ratio_t *ratio, ptrdiff_t channels, const float *in, ptrdiff_t in_stride, int64_t row,
                         ptrdiff_t count, float *out, ptrdiff_t out_stride);

/* Portable: four lanes in the compiler's own vectors, for whatever the baseline of the architecture is. */
#define RS_SUFFIX portable
#define RS_TARGET
#define RS_WIDTH 4
typedef float rs_f4 __attribute__((vector_size(16)));
#define RS_VEC rs_f4
#define RS_ZERO() ((rs_f4){0.0f, 0.0f, 0.0f, 0.0f})
#define RS_FMA(a, b, c) ((a) * (b) + (c))
RS_INLINE rs_f4 rs_load_portable(const float *p) {
    rs_f4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
#define RS_LOAD(p) rs_load_portable(p)
#if defined(__clang__)
#define RS_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
typedef int32_t rs_i4 __attribute__((vector_size(16)));
#define RS_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (rs_i4){i, j, k, l})
#endif
RS_INLINE rs_f4 rs_sum_pairs_portable(rs_f4 a, rs_f4 b) {
    return RS_SHUFFLE(a, b, 0, 2, 4, 6) + RS_SHUFFLE(a, b, 1, 3, 5, 7);
}
#define RS_SUMS(a, b, c, d) rs_sum_pairs_portable(rs_sum_pairs_portable(a, b), rs_sum_pairs_portable(c, d))
#include "resample_run.h"

#if VG_HAVE_X86
#include <immintrin.h>

#define RS_SUFFIX avx2
#define RS_TARGET VG_TARGET_AVX2
#define RS_WIDTH 8
#define RS_VEC __m256
#define RS_ZERO() _mm256_setzero_ps()
#define RS_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define RS_LOAD(p) _mm256_loadu_ps(p)
RS_INLINE VG_TARGET_AVX2 rs_f4 rs_sums_avx2(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return (rs_f4)_mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}
#define RS_SUMS(a, b, c, d) rs_sums_avx2(a, b, c, d)
#include "resample_run.h"

#define RS_SUFFIX avx512
#define RS_TARGET VG_TARGET_AVX512
#define RS_WIDTH 16
#define RS_VEC __m512
#define RS_ZERO() _mm512_setzero_ps()
#define RS_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define RS_LOAD(p) _mm512_loadu_ps(p)
RS_INLINE VG_TARGET_AVX512 __m256 rs_halves_avx512(__m512 a) {
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}
RS_INLINE VG_TARGET_AVX512 rs_f4 rs_sums_avx512(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(rs_halves_avx512(a), rs_halves_avx512(b)),
                                       _mm256_hadd_ps(rs_halves_avx512(c), rs_halves_avx512(d)));
    return (rs_f4)_mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}
#define RS_SUMS(a, b, c, d) rs_sums_avx512(a, b, c, d)
#include "resample_run.h"
#endif

#if VG_HAVE_NEON
#include <arm_neon.h>

#define RS_SUFFIX neon
#define RS_TARGET
#define RS_WIDTH 4
#define RS_VEC float32x4_t
#define RS_ZERO() vdupq_n_f32(0.0f)
#define RS_FMA(a, b, c) vfmaq_f32(c, a, b)
#define RS_LOAD(p) vld1q_f32(p)
#define RS_SUMS(a, b, c, d) ((rs_f4)vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)))
#include "resample_run.h"
#endif

/* The kernel of an instruction set that vg_isa_supported() allows. */
static inline rs_run_t rs_run_for(int isa) {
    switch (isa) {
#if VG_HAVE_X86
    case VG_AVX2:
        return rs_run_avx2;
    case VG_AVX512:
    case VG_AVX512_VNNI:
        return rs_run_avx512;
#endif
#if VG_HAVE_NEON
    case VG_NEON:
        return rs_run_neon;
#endif
    default:
        return rs_run_portable;
    }
}

#endif
