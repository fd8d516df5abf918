/* Vectors of float for one instruction set, and accurate exp, sigmoid and tanh on them.
 *
 * A template: no include guard. The includer defines VG_ISA_NAME (a suffix: portable, avx2, avx512, avx512vnni, neon),
 * VG_ISA (one of the VG_ISA_* numbers below), and VG_VNNI as 1 for AVX-512 with VNNI; this header defines VG_LANES, VG_INLINE, the
 * type V(vec) and the operations V(load), V(fma), ... with that suffix, so that several instruction sets live in one
 * translation unit. vecmath_end.h takes the macros away again.
 *
 * Plain arithmetic is written with the operators of gcc's and clang's vector extension; only what they cannot say is
 * an intrinsic. */
#ifndef VG_ISA_PORTABLE
#define VG_ISA_PORTABLE 0
#define VG_ISA_AVX2 1
#define VG_ISA_AVX512 2
#define VG_ISA_NEON 3
#define VG_JOIN_(a, b, c) a##b##_##c
#define VG_JOIN(a, b, c) VG_JOIN_(a, b, c)
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
/* Every AVX2 processor converts half floats too; vg_has_half() asks all the same. */
#define VG_TARGET_AVX2_F16C __attribute__((target("avx2,fma,f16c")))
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#endif

#if VG_ISA == VG_ISA_AVX512
#define VG_LANES 16
#if VG_VNNI
#define VG_TARGET VG_TARGET_AVX512_VNNI
#else
#define VG_TARGET VG_TARGET_AVX512
#endif
#elif VG_ISA == VG_ISA_AVX2
#define VG_LANES 8
#define VG_TARGET VG_TARGET_AVX2_F16C
#else
#define VG_LANES 4
#define VG_TARGET
#endif
/* 1: the set multiplies pairs of 16-bit integers. SSE2, which all of x86-64 has, does; NEON would not be faster so. */
#if defined(__x86_64__)
#define VG_SHORTS 1
#else
#define VG_SHORTS 0
#endif
#define VG_INLINE VG_TARGET static inline __attribute__((always_inline))
#define V(name) VG_JOIN(vg_, name, VG_ISA_NAME)

/* V(max)(x, y) and V(min)(x, y): y where x is NaN. */
typedef float V(vec) __attribute__((vector_size(VG_LANES * 4)));
typedef int32_t V(ivec) __attribute__((vector_size(VG_LANES * 4)));
/* The same in memory: any alignment of a float, aliasing floats. */
typedef float V(memvec) __attribute__((vector_size(VG_LANES * 4), aligned(4), may_alias));

VG_INLINE V(vec) V(load)(const float *p) { return *(const V(memvec) *)p; }
VG_INLINE void V(store)(float *p, V(vec) a) { *(V(memvec) *)p = a; }

/* A vector of half floats in memory, widened: exact. The portable set has no such instruction, and no half floats in
 * memory. */
#if VG_ISA == VG_ISA_AVX512
VG_INLINE V(vec) V(load_half)(const uint16_t *p) {
    return (V(vec))_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
#elif VG_ISA == VG_ISA_AVX2
VG_INLINE V(vec) V(load_half)(const uint16_t *p) {
    return (V(vec))_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
#elif VG_ISA == VG_ISA_NEON
VG_INLINE V(vec) V(load_half)(const uint16_t *p) { return (V(vec))vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
#endif

#if VG_ISA == VG_ISA_AVX512
VG_INLINE V(vec) V(set1)(float x) { return (V(vec))_mm512_set1_ps(x); }
VG_INLINE V(vec) V(fma)(V(vec) a, V(vec) b, V(vec) c) {
    return (V(vec))_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
VG_INLINE V(vec) V(max)(V(vec) a, V(vec) b) { return (V(vec))_mm512_max_ps((__m512)a, (__m512)b); }
VG_INLINE V(vec) V(min)(V(vec) a, V(vec) b) { return (V(vec))_mm512_min_ps((__m512)a, (__m512)b); }
VG_INLINE V(vec) V(sqrt)(V(vec) a) { return (V(vec))_mm512_sqrt_ps((__m512)a); }
VG_INLINE V(vec) V(reverse)(V(vec) a) {
    const __m512i order = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return (V(vec))_mm512_permutexvar_ps(order, (__m512)a);
}
VG_INLINE V(vec) V(load_quads)(const float *p, ptrdiff_t stride) {
    __m512 a = _mm512_castps128_ps512(_mm_loadu_ps(p));
    a = _mm512_insertf32x4(a, _mm_loadu_ps(p + stride), 1);
    a = _mm512_insertf32x4(a, _mm_loadu_ps(p + 2 * stride), 2);
    return (V(vec))_mm512_insertf32x4(a, _mm_loadu_ps(p + 3 * stride), 3);
}
VG_INLINE V(vec) V(low)(V(vec) a, V(vec) b) { return (V(vec))_mm512_unpacklo_ps((__m512)a, (__m512)b); }
VG_INLINE V(vec) V(high)(V(vec) a, V(vec) b) { return (V(vec))_mm512_unpackhi_ps((__m512)a, (__m512)b); }
VG_INLINE V(vec) V(low_pairs)(V(vec) a, V(vec) b) { return (V(vec))_mm512_unpacklo_pd((__m512d)a, (__m512d)b); }
VG_INLINE V(vec) V(high_pairs)(V(vec) a, V(vec) b) { return (V(vec))_mm512_unpackhi_pd((__m512d)a, (__m512d)b); }

#elif VG_ISA == VG_ISA_AVX2
VG_INLINE V(vec) V(set1)(float x) { return (V(vec))_mm256_set1_ps(x); }
VG_INLINE V(vec) V(fma)(V(vec) a, V(vec) b, V(vec) c) {
    return (V(vec))_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
VG_INLINE V(vec) V(max)(V(vec) a, V(vec) b) { return (V(vec))_mm256_max_ps((__m256)a, (__m256)b); }
VG_INLINE V(vec) V(min)(V(vec) a, V(vec) b) { return (V(vec))_mm256_min_ps((__m256)a, (__m256)b); }
VG_INLINE V(vec) V(sqrt)(V(vec) a) { return (V(vec))_mm256_sqrt_ps((__m256)a); }
VG_INLINE V(vec) V(reverse)(V(vec) a) {
    return (V(vec))_mm256_permutevar8x32_ps((__m256)a, _mm256_set_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VG_INLINE V(vec) V(load_quads)(const float *p, ptrdiff_t stride) {
    return (V(vec))_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
}
VG_INLINE V(vec) V(low)(V(vec) a, V(vec) b) { return (V(vec))_mm256_unpacklo_ps((__m256)a, (__m256)b); }
VG_INLINE V(vec) V(high)(V(vec) a, V(vec) b) { return (V(vec))_mm256_unpackhi_ps((__m256)a, (__m256)b); }
VG_INLINE V(vec) V(low_pairs)(V(vec) a, V(vec) b) { return (V(vec))_mm256_unpacklo_pd((__m256d)a, (__m256d)b); }
VG_INLINE V(vec) V(high_pairs)(V(vec) a, V(vec) b) { return (V(vec))_mm256_unpackhi_pd((__m256d)a, (__m256d)b); }

#elif VG_ISA == VG_ISA_NEON
VG_INLINE V(vec) V(set1)(float x) { return (V(vec))vdupq_n_f32(x); }
VG_INLINE V(vec) V(fma)(V(vec) a, V(vec) b, V(vec) c) {
    return (V(vec))vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
VG_INLINE V(vec) V(max)(V(vec) a, V(vec) b) { return (V(vec))vmaxnmq_f32((float32x4_t)a, (float32x4_t)b); }
VG_INLINE V(vec) V(min)(V(vec) a, V(vec) b) { return (V(vec))vminnmq_f32((float32x4_t)a, (float32x4_t)b); }
VG_INLINE V(vec) V(sqrt)(V(vec) a) { return (V(vec))vsqrtq_f32((float32x4_t)a); }
VG_INLINE V(vec) V(reverse)(V(vec) a) {
    float32x4_t pairs = vrev64q_f32((float32x4_t)a);
    return (V(vec))vextq_f32(pairs, pairs, 2);
}
VG_INLINE V(vec) V(load_quads)(const float *p, ptrdiff_t stride) { (void)stride; return (V(vec))vld1q_f32(p); }
VG_INLINE V(vec) V(low)(V(vec) a, V(vec) b) { return (V(vec))vzip1q_f32((float32x4_t)a, (float32x4_t)b); }
VG_INLINE V(vec) V(high)(V(vec) a, V(vec) b) { return (V(vec))vzip2q_f32((float32x4_t)a, (float32x4_t)b); }
VG_INLINE V(vec) V(low_pairs)(V(vec) a, V(vec) b) { return (V(vec))vzip1q_f64((float64x2_t)a, (float64x2_t)b); }
VG_INLINE V(vec) V(high_pairs)(V(vec) a, V(vec) b) { return (V(vec))vzip2q_f64((float64x2_t)a, (float64x2_t)b); }

#else /* portable: four lanes, which any baseline with vectors has, and no fused multiply-add */
VG_INLINE V(vec) V(set1)(float x) { return (V(vec)){x, x, x, x}; }
VG_INLINE V(vec) V(fma)(V(vec) a, V(vec) b, V(vec) c) { return a * b + c; }
VG_INLINE V(vec) V(select)(V(ivec) mask, V(vec) a, V(vec) b);
VG_INLINE V(vec) V(max)(V(vec) a, V(vec) b) { return V(select)((V(ivec))(a > b), a, b); }
VG_INLINE V(vec) V(min)(V(vec) a, V(vec) b) { return V(select)((V(ivec))(a < b), a, b); }
VG_INLINE V(vec) V(sqrt)(V(vec) a) {
    return (V(vec)){__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
VG_INLINE V(vec) V(reverse)(V(vec) a) { return (V(vec)){a[3], a[2], a[1], a[0]}; }
VG_INLINE V(vec) V(load_quads)(const float *p, ptrdiff_t stride) { (void)stride; return V(load)(p); }
VG_INLINE V(vec) V(low)(V(vec) a, V(vec) b) { return (V(vec)){a[0], b[0], a[1], b[1]}; }
VG_INLINE V(vec) V(high)(V(vec) a, V(vec) b) { return (V(vec)){a[2], b[2], a[3], b[3]}; }
VG_INLINE V(vec) V(low_pairs)(V(vec) a, V(vec) b) { return (V(vec)){a[0], a[1], b[0], b[1]}; }
VG_INLINE V(vec) V(high_pairs)(V(vec) a, V(vec) b) { return (V(vec)){a[2], a[3], b[2], b[3]}; }
#endif

#if VG_SHORTS
/* Left alone, gcc computes the products of many sums before it adds the first of them, and spills. */
#define VG_KEEP(sum) __asm__ volatile("" : "+x"(sum))
/* V(dot)(a, b, sum): lanes of two 16-bit integers; sum + a[0] b[0] + a[1] b[1] in each, modulo 2^32. V(to_shorts): the
 * nearest integers of a vector, to memory; anything out of range becomes an end of the range. V(to_float): of 32-bit
 * integers. */
#if VG_ISA == VG_ISA_AVX512
VG_INLINE V(ivec) V(dot)(V(ivec) a, V(ivec) b, V(ivec) sum) {
#if VG_VNNI
    return (V(ivec))_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
    return (V(ivec))_mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)a, (__m512i)b));
#endif
}
VG_INLINE void V(to_shorts)(int16_t *p, V(vec) a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32((__m512)a)));
}
VG_INLINE V(vec) V(to_float)(V(ivec) a) { return (V(vec))_mm512_cvtepi32_ps((__m512i)a); }
#elif VG_ISA == VG_ISA_AVX2
VG_INLINE V(ivec) V(dot)(V(ivec) a, V(ivec) b, V(ivec) sum) {
    sum = (V(ivec))_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)a, (__m256i)b));
    VG_KEEP(sum);
    return sum;
}
VG_INLINE void V(to_shorts)(int16_t *p, V(vec) a) {
    __m256i wide = _mm256_cvtps_epi32((__m256)a);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
}
VG_INLINE V(vec) V(to_float)(V(ivec) a) { return (V(vec))_mm256_cvtepi32_ps((__m256i)a); }
#else
VG_INLINE V(ivec) V(dot)(V(ivec) a, V(ivec) b, V(ivec) sum) {
    sum = (V(ivec))_mm_add_epi32((__m128i)sum, _mm_madd_epi16((__m128i)a, (__m128i)b));
    VG_KEEP(sum);
    return sum;
}
VG_INLINE void V(to_shorts)(int16_t *p, V(vec) a) {
    __m128i wide = _mm_cvtps_epi32((__m128)a);
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi32(wide, wide));
}
VG_INLINE V(vec) V(to_float)(V(ivec) a) { return (V(vec))_mm_cvtepi32_ps((__m128i)a); }
#endif
#endif

/* Lane by lane: a where the mask is all ones, b where it is zero. */
VG_INLINE V(vec) V(select)(V(ivec) mask, V(vec) a, V(vec) b) {
    return (V(vec))((mask & (V(ivec))a) | (~mask & (V(ivec))b));
}

VG_INLINE float V(sum)(V(vec) a) {
    float total = 0.0f;
    for (int lane = 0; lane < VG_LANES; lane++) total += a[lane];
    return total;
}

VG_INLINE float V(largest)(V(vec) a) {
    float lanes[VG_LANES];
    V(store)(lanes, a);
    for (int width = VG_LANES / 2; width; width /= 2)
        for (int lane = 0; lane < width; lane++)
            lanes[lane] = lanes[lane] > lanes[lane + width] ? lanes[lane] : lanes[lane + width];
    return lanes[0];
}

/* exp(x), relative error below 1.5e-7; x is clamped to -87..88, so that the result is a normal, finite number. x = n
 * ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first short enough that n times it is exact; exp(r) by a
 * minimax polynomial (error 3e-9); 2^n put together from its bits. The large constant rounds to the nearest integer
 * and leaves n in the low bits. */
VG_INLINE V(vec) V(exp)(V(vec) x) {
    const V(vec) round_constant = V(set1)(12582912.0f); /* 1.5 * 2^23 */
    x = V(min)(V(max)(x, V(set1)(-87.0f)), V(set1)(88.0f));
    V(vec) rounded = V(fma)(x, V(set1)(1.44269504f), round_constant);
    V(vec) n = rounded - round_constant;
    V(vec) r = V(fma)(n, V(set1)(-0.693359375f), x);
    r = V(fma)(n, V(set1)(2.12194440e-4f), r);
    V(vec) p = V(set1)(0.00138131448f);
    p = V(fma)(p, r, V(set1)(0.00836941879f));
    p = V(fma)(p, r, V(set1)(0.0416684560f));
    p = V(fma)(p, r, V(set1)(0.166665152f));
    p = V(fma)(p, r, V(set1)(0.49999994f));
    p = V(fma)(p, r * r, r) + V(set1)(1.0f);
    /* Unsigned: the shift drops the bits of the constant on purpose. */
    typedef uint32_t uvec __attribute__((vector_size(VG_LANES * 4)));
    return p * (V(vec))(((uvec)rounded << 23) + 0x3F800000u);
}

/* 1 / (1 + exp(-x)), relative error below 3e-7. */
VG_INLINE V(vec) V(sigmoid)(V(vec) x) {
    const V(vec) one = V(set1)(1.0f);
    return one / (one + V(exp)(-x));
}

/* tanh(x), relative error below 3e-7, for small x too: an odd minimax polynomial (error 7e-9) below 0.625, else exp. */
VG_INLINE V(vec) V(tanh)(V(vec) x) {
    const V(vec) one = V(set1)(1.0f);
    const V(ivec) sign = (V(ivec))x & (V(ivec))V(set1)(-0.0f);
    V(vec) size = (V(vec))((V(ivec))x ^ sign);
    V(vec) large = one - V(set1)(2.0f) / (V(exp)(size + size) + one);
    V(vec) z = x * x;
    V(vec) p = V(set1)(-0.00551516330f);
    p = V(fma)(p, z, V(set1)(0.0204694197f));
    p = V(fma)(p, z, V(set1)(-0.0536880232f));
    p = V(fma)(p, z, V(set1)(0.133308306f));
    p = V(fma)(p, z, V(set1)(-0.333332598f));
    V(vec) small = V(fma)(p * z, size, size);
    V(vec) result = V(select)((V(ivec))(size < V(set1)(0.625f)), small, large);
    return (V(vec))((V(ivec))result | sign);
}
