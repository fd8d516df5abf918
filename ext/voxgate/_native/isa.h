/* Which instruction set the kernels of this process use: detected once, or forced by the environment variable VOXGATE_ISA.
 *
 * The wheel is built for the baseline of its architecture; a kernel is compiled once per instruction set by function attributes
 * and chosen here at run time. Nothing is built with -march=native. */
#ifndef VOXGATE_ISA_H
#define VOXGATE_ISA_H

#include <string.h>

typedef enum { VG_PORTABLE = 0, VG_AVX2 = 1, VG_AVX512 = 2, VG_NEON = 3, VG_AVX512_VNNI = 4, VG_ISA_COUNT = 5 } vg_isa_t;

static const char *const vg_isa_names[VG_ISA_COUNT] = {"portable", "avx2", "avx512", "neon", "avx512vnni"};

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define VG_HAVE_X86 1
#define VG_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define VG_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#else
#define VG_HAVE_X86 0
#endif

/* Compilers from gcc 8 and clang 7 on know VNNI. */
#if VG_HAVE_X86 && (defined(__clang__) ? __clang_major__ >= 7 : __GNUC__ >= 8)
#define VG_HAVE_VNNI 1
#define VG_TARGET_AVX512_VNNI __attribute__((target("avx512vnni,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#else
#define VG_HAVE_VNNI 0
#endif

#if defined(__aarch64__)
#define VG_HAVE_NEON 1 /* part of the arm64 baseline: no attribute, no detection */
#else
#define VG_HAVE_NEON 0
#endif

/* 1 when this machine can run `isa`. */
static inline int vg_isa_supported(int isa) {
    switch (isa) {
    case VG_PORTABLE:
        return 1;
#if VG_HAVE_X86
    case VG_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case VG_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if VG_HAVE_VNNI
    case VG_AVX512_VNNI:
        return __builtin_cpu_supports("avx512vnni") && vg_isa_supported(VG_AVX512);
#endif
#if VG_HAVE_NEON
    case VG_NEON:
        return 1;
#endif
    default:
        return 0;
    }
}

/* The fastest instruction set of this machine. */
static inline int vg_isa_best(void) {
    if (vg_isa_supported(VG_AVX512_VNNI)) return VG_AVX512_VNNI;
    if (vg_isa_supported(VG_AVX512)) return VG_AVX512;
    if (vg_isa_supported(VG_AVX2)) return VG_AVX2;
    if (vg_isa_supported(VG_NEON)) return VG_NEON;
    return VG_PORTABLE;
}

/* The number of an instruction set by its name, -1 when there is none of that name. */
static inline int vg_isa_by_name(const char *name) {
    for (int isa = 0; isa < VG_ISA_COUNT; isa++)
        if (strcmp(name, vg_isa_names[isa]) == 0) return isa;
    return -1;
}

#endif
