/* The Silero v6 voice-activity network, 16 kHz: the same C text compiled once per instruction set, chosen at run time.
 *
 * The network is described in docs/ and, line by line, in tests/reference/silero_ref.py. What is used of it here: the
 * sequence shrinks from four steps to one, so 353 thousand multiply-adds and 222 thousand weights do the work of the
 * whole; the spectrum is a real Fourier transform in place of a product with the stored basis. */
#ifndef VOXGATE_SILERO_H
#define VOXGATE_SILERO_H

#include "isa.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if VG_HAVE_X86
#include <cpuid.h>
#endif

enum {
    VG_SILERO_FRAME = 512,           /* samples of a frame */
    VG_SILERO_CONTEXT = 64,          /* samples of the frame before that are looked at again */
    VG_SILERO_HOP = 128,             /* samples between two windows of the spectrum */
    VG_SILERO_SPECTRUM_STRIDE = 144, /* floats between two spectra (129 used) */
    VG_SILERO_BATCH = 16,            /* channels that go through the layers together */
    VG_CONV_GROUP = 64               /* outputs side by side in the packed weights of a convolution */
};

/* What one channel remembers. All zero: a new stream. */
typedef struct {
    float hidden[128];
    float cell[128];
    float context[VG_SILERO_CONTEXT];
} vg_silero_state_t;

/* What a product is of. */
enum { VG_KIND_FLOAT, VG_KIND_HALF, VG_KIND_SHORT };
/* The largest short of an input. The weights are scaled so that no sum of such inputs leaves 32 bits. */
#define VG_SHORT_TOP 16383.0f
/* Inputs that are all smaller count as multiples of this / VG_SHORT_TOP, the smallest normal number. */
#define VG_SHORT_LEAST 3e-34f

/* A float, or two shorts that are moved as one. */
typedef float vg_silero_bits_t __attribute__((may_alias));

/* A matrix in 16-bit integers, pairs of inputs side by side; a row stands for its integers times its scale. */
typedef struct {
    const int16_t *rows;
    const float *scale;
} vg_silero_shorts_t;

/* Read-only views of the packed weights; a convolution has one matrix per tap. */
typedef struct {
    const float *window;  /* 256: half a periodic Hann window */
    const float *cosines; /* 16 x 16: cos(2 pi row lane / 256) */
    const float *sines;
    const void *conv[4][3]; /* float, or half float */
    const float *conv_bias[4];
    const float *gates_input;
    const float *gates_hidden;
    const float *gate_bias; /* 512 */
    const float *out_weight;
    float out_bias;
    int shorts; /* 1: the first convolution and the gates are these, not the above; halves of the inputs apart */
    vg_silero_shorts_t short_conv[3][2];  /* by tap */
    vg_silero_shorts_t short_gates[2][2]; /* of the input, of the hidden state */
    int half; /* 1: the convolutions are stored as half floats, because that loses nothing */
} vg_silero_net_t;

/* Outputs side by side in the packed weights of the LSTM: what one column takes at once. */
static inline int vg_silero_gates_group(int isa) { return isa == VG_AVX512 || isa == VG_AVX512_VNNI ? 128 : 64; }

/* The shapes of the tiles, vectors of outputs times columns, by what the registers hold beside the weights and the
 * broadcast: AVX-512 has 32 of 16 floats, 2 x 8 sums; AVX2 16 of 8 floats, 2 x 6; NEON 32 of 4 floats, 4 x 6; the
 * portable set may find 16 of 4 floats and no fused multiply-add, 2 x 4. VG_PANELS_FOR_c: panels side by side when
 * only c columns are there; eight sums or more hide an addition's latency. */
#define VG_ISA_NAME portable
#define VG_ISA 0
#define VG_PANEL_VECTORS 2
#define VG_TILE_COLUMNS 4
#define VG_PANELS_FOR_1(group) 4
#define VG_PANELS_FOR_2 2
#define VG_PANELS_FOR_3 1
#define VG_PANELS_FOR_4 1
#include "vecmath.h"
#include "silero_product.h"
#include "silero_kernel.h"
#include "vecmath_end.h"

#if VG_HAVE_X86
#define VG_ISA_NAME avx2
#define VG_ISA 1
#define VG_PANEL_VECTORS 2
#define VG_TILE_COLUMNS 6
#define VG_PANELS_FOR_1(group) 4
#define VG_PANELS_FOR_2 2
#define VG_PANELS_FOR_3 1
#define VG_PANELS_FOR_4 1
#include "vecmath.h"
#include "silero_product.h"
#include "silero_kernel.h"
#include "vecmath_end.h"

#define VG_ISA_NAME avx512
#define VG_ISA 2
#define VG_PANEL_VECTORS 2
#define VG_TILE_COLUMNS 8
#define VG_PANELS_FOR_1(group) ((group) / 32)
#define VG_PANELS_FOR_2 2
#define VG_PANELS_FOR_3 2
#define VG_PANELS_FOR_4 2
#include "vecmath.h"
#include "silero_product.h"
#include "silero_kernel.h"
#include "vecmath_end.h"

#if VG_HAVE_VNNI
#define VG_ISA_NAME avx512vnni
#define VG_ISA 2
#define VG_VNNI 1
#define VG_PANEL_VECTORS 2
#define VG_TILE_COLUMNS 8
#define VG_PANELS_FOR_1(group) ((group) / 32)
#define VG_PANELS_FOR_2 2
#define VG_PANELS_FOR_3 2
#define VG_PANELS_FOR_4 2
#include "vecmath.h"
#include "silero_product.h"
#include "silero_kernel.h"
#include "vecmath_end.h"
#endif
#endif

#if VG_HAVE_NEON
#define VG_ISA_NAME neon
#define VG_ISA 3
#define VG_PANEL_VECTORS 4
#define VG_TILE_COLUMNS 6
#define VG_PANELS_FOR_1(group) 2
#define VG_PANELS_FOR_2 1
#define VG_PANELS_FOR_3 1
#define VG_PANELS_FOR_4 1
#include "vecmath.h"
#include "silero_product.h"
#include "silero_kernel.h"
#include "vecmath_end.h"
#endif

/* 1 when the kernel of `isa` can read half floats on this machine. */
static inline int vg_has_half(int isa) {
#if VG_HAVE_X86
    unsigned int a, b, c, d;
    if (isa == VG_AVX2) return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
#endif
    return isa != VG_PORTABLE;
}

/* 1 when the kernel of `isa` multiplies shorts. */
static inline int vg_has_shorts(int isa) { return VG_HAVE_X86 && isa != VG_NEON; }

typedef void (*vg_silero_batch_fn)(
    const vg_silero_net_t *net, int n, vg_silero_state_t *const *states, const float *const *frames,
    float *probabilities
);
typedef void (*vg_activations_fn)(const float *x, ptrdiff_t n, float *sigmoid, float *tanh);

_Static_assert(
    VG_PORTABLE == VG_ISA_PORTABLE && VG_AVX2 == VG_ISA_AVX2 && VG_AVX512 == VG_ISA_AVX512 && VG_NEON == VG_ISA_NEON,
    "isa.h and vecmath.h number the instruction sets alike"
);

/* The functions of an instruction set this build knows. */
static inline vg_silero_batch_fn vg_silero_function(int isa) {
    switch (isa) {
#if VG_HAVE_X86
    case VG_AVX2: return vg_silero_batch_avx2;
    case VG_AVX512: return vg_silero_batch_avx512;
#endif
#if VG_HAVE_VNNI
    case VG_AVX512_VNNI: return vg_silero_batch_avx512vnni;
#endif
#if VG_HAVE_NEON
    case VG_NEON: return vg_silero_batch_neon;
#endif
    default: return vg_silero_batch_portable;
    }
}

static inline vg_activations_fn vg_activations_function(int isa) {
    switch (isa) {
#if VG_HAVE_X86
    case VG_AVX2: return vg_activations_avx2;
    case VG_AVX512: return vg_activations_avx512;
#endif
#if VG_HAVE_VNNI
    case VG_AVX512_VNNI: return vg_activations_avx512vnni;
#endif
#if VG_HAVE_NEON
    case VG_NEON: return vg_activations_neon;
#endif
    default: return vg_activations_portable;
    }
}

/* The processor's floating-point mode with denormals taken as zero. A fading signal or state would else cost a hundred
 * cycles a number. */
static inline uint64_t vg_denormals_off(void) {
#if defined(__x86_64__)
    unsigned int mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u); /* flush to zero, denormals are zero */
    return mode;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (UINT64_C(1) << 24)));
    return mode;
#else
    return 0;
#endif
}

static inline void vg_denormals_restore(uint64_t mode) {
#if defined(__x86_64__)
    _mm_setcsr((unsigned int)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

/* One frame of n channels: frames[c] and states[c] of each, probabilities[c] out. Thread-safe for different states: the
 * work areas are on the stack (80 KB). */
static inline void vg_silero_step(
    vg_silero_batch_fn function, const vg_silero_net_t *net, ptrdiff_t n, vg_silero_state_t *const *states,
    const float *const *frames, float *probabilities
) {
    const uint64_t mode = vg_denormals_off();
    for (ptrdiff_t c = 0; c < n; c += VG_SILERO_BATCH) {
        const int part = n - c < VG_SILERO_BATCH ? (int)(n - c) : VG_SILERO_BATCH;
        function(net, part, states + c, frames + c, probabilities + c);
    }
    vg_denormals_restore(mode);
}

#endif
