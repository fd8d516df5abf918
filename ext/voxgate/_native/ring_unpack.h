/* No include guard: ring_isa.h includes this once per instruction set, with VG_UNPACK_SUFFIX, _TARGET, _WIDTH (lanes of
 * a vector), _VEC (of 32-bit numbers), _VECF (of floats), _WORDS and _BYTES (load numbers of 16 or 8 bits). */

#define VG_UNPACK_JOIN_(a, b) a##b
#define VG_UNPACK_JOIN(a, b) VG_UNPACK_JOIN_(a, b)
#define VG_UNPACK_NAME(name) VG_UNPACK_JOIN(name, VG_UNPACK_SUFFIX)

/* One block, of a width that is known when this is compiled: so are all shifts, and where a word begins. */
VG_UNPACK_INLINE VG_UNPACK_TARGET void VG_UNPACK_NAME(vg_unpack_width_)(const unsigned char *in, float *out,
                                                                         const int width) {
    /* Bits below those of 256 are a float from there on in steps of 1/32768. */
    const float lowest = 256.0f + (float)(1 << (width - 1)) / 32768.0f;
    for (int lane = 0; lane < VG_PACK_LANES; lane += VG_UNPACK_WIDTH) {
        VG_UNPACK_VEC word = width == 1 ? VG_UNPACK_BYTES(in + lane) : VG_UNPACK_WORDS(in + 2 * lane);
#pragma GCC unroll 8
        for (int row = 0; row < 8; row++) {
            const int used = row * width % 16, end = 16 * (row * width / 16 + 1); /* of the word, in bits */
            VG_UNPACK_VEC v = word >> used;
            VG_UNPACK_VECF f;
            if (used + width >= 16 && end < 8 * width) {
                word = end + 16 > 8 * width ? VG_UNPACK_BYTES(in + 2 * end + lane)
                                            : VG_UNPACK_WORDS(in + 2 * end + 2 * lane);
                if (used + width > 16) v |= word << (16 - used);
            }
            v = (v & ((1u << width) - 1)) | 0x43800000u;
            memcpy(&f, &v, sizeof f);
            f -= lowest;
            memcpy(out + VG_PACK_LANES * row + lane, &f, sizeof f);
        }
    }
}

static VG_UNPACK_TARGET void VG_UNPACK_NAME(vg_unpack_block_)(const unsigned char *in, int width, float *out) {
    switch (width) {
#define VG_UNPACK_CASE(width)                                \
    case width:                                              \
        VG_UNPACK_NAME(vg_unpack_width_)(in, out, width);    \
        break;
        VG_UNPACK_CASE(1)
        VG_UNPACK_CASE(2)
        VG_UNPACK_CASE(3)
        VG_UNPACK_CASE(4)
        VG_UNPACK_CASE(5)
        VG_UNPACK_CASE(6)
        VG_UNPACK_CASE(7)
        VG_UNPACK_CASE(8)
        VG_UNPACK_CASE(9)
        VG_UNPACK_CASE(10)
        VG_UNPACK_CASE(11)
        VG_UNPACK_CASE(12)
        VG_UNPACK_CASE(13)
        VG_UNPACK_CASE(14)
        VG_UNPACK_CASE(15)
        VG_UNPACK_CASE(16)
#undef VG_UNPACK_CASE
    }
}

static VG_UNPACK_TARGET void VG_UNPACK_NAME(vg_widen_)(const int16_t *in, ptrdiff_t n, float *out) {
    for (ptrdiff_t i = 0; i < n; i++) out[i] = vg_ring_value(in[i]);
}

static const vg_ring_kernels VG_UNPACK_NAME(vg_ring_kernels_) = {VG_UNPACK_NAME(vg_unpack_block_),
                                                                 VG_UNPACK_NAME(vg_widen_)};

#undef VG_UNPACK_NAME
#undef VG_UNPACK_JOIN
#undef VG_UNPACK_JOIN_
#undef VG_UNPACK_SUFFIX
#undef VG_UNPACK_TARGET
#undef VG_UNPACK_WIDTH
#undef VG_UNPACK_VEC
#undef VG_UNPACK_VECF
#undef VG_UNPACK_WORDS
#undef VG_UNPACK_BYTES
