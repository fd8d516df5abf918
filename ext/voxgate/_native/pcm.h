/* Wire samples to float32 planes: one function per encoding, each a single pass that decodes and de-interleaves.
 *
 * Samples on the wire are little-endian and not aligned. Loops for one and two channels stand apart, so that their
 * strides are constants and the compiler turns them into vector code; more channels go plane by plane.
 * Nothing here touches Python: callable without the GIL. */
#ifndef VOXGATE_PCM_H
#define VOXGATE_PCM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define VG_LE16(x) __builtin_bswap16(x)
#define VG_LE32(x) __builtin_bswap32(x)
#define VG_LE64(x) __builtin_bswap64(x)
#else
#define VG_LE16(x) (x)
#define VG_LE32(x) (x)
#define VG_LE64(x) (x)
#endif

/* `frames` interleaved frames from `in`; sample i of channel c goes to out[c * plane_stride + i]. */
typedef void (*vg_pcm_decode_t)(const unsigned char *in, ptrdiff_t frames, ptrdiff_t channels, ptrdiff_t plane_stride,
                                float *out);

/* G.711 expansion, filled once by vg_pcm_init(). */
static float vg_pcm_mulaw[256], vg_pcm_alaw[256];

static inline uint32_t vg_load_u32(const unsigned char *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return VG_LE32(x);
}

static inline float vg_read_u8(const unsigned char *p) { return (float)((int)*p - 128) * (1.0f / 128.0f); }

static inline float vg_read_s16(const unsigned char *p) {
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return (float)(int16_t)VG_LE16(x) * (1.0f / 32768.0f);
}

static inline float vg_read_s24(const unsigned char *p) {
    /* Into the upper 24 bits, so that the sign comes for nothing; the scale takes the factor 256 out again. Exact. */
    uint32_t x = (uint32_t)p[0] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 24;
    return (float)(int32_t)x * (1.0f / 2147483648.0f);
}

static inline float vg_read_s32(const unsigned char *p) {
    return (float)(int32_t)vg_load_u32(p) * (1.0f / 2147483648.0f);
}

/* A float by its bits: 0 when `finite` is 0, clipped to -1..1 otherwise (`finite` is 0 or -1). Masks instead of
 * comparisons of floats: gcc leaves those scalar (2.5x slower), because NaN makes a minimum depend on the order of its
 * operands. */
static inline float vg_clip_bits(uint32_t bits, int32_t finite) {
    int32_t magnitude = (int32_t)(bits & 0x7fffffffu);
    int32_t over = -(int32_t)(magnitude > 0x3f800000); /* 1.0f */
    float x;
    bits = ((bits & 0x80000000u) | (uint32_t)((magnitude & ~over) | (0x3f800000 & over))) & (uint32_t)finite;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float vg_read_f32(const unsigned char *p) {
    uint32_t bits = vg_load_u32(p);
    return vg_clip_bits(bits, -(int32_t)((int32_t)(bits & 0x7fffffffu) < 0x7f800000));
}

static inline float vg_read_f64(const unsigned char *p) {
    /* A finite double may be an infinite float: it is clipped, so what is finite is asked of the double. */
    uint64_t bits;
    double x;
    float narrow;
    uint32_t narrow_bits;
    memcpy(&bits, p, sizeof bits);
    bits = VG_LE64(bits);
    memcpy(&x, &bits, sizeof x);
    narrow = (float)x;
    memcpy(&narrow_bits, &narrow, sizeof narrow_bits);
    return vg_clip_bits(narrow_bits, -(int32_t)((int32_t)(bits >> 32 & 0x7fffffffu) < 0x7ff00000));
}

static inline float vg_read_mulaw(const unsigned char *p) { return vg_pcm_mulaw[*p]; }
static inline float vg_read_alaw(const unsigned char *p) { return vg_pcm_alaw[*p]; }

/* The decoder of one encoding; STEREO(p, left, right) reads the two samples of a frame. */
#define VG_PCM_DECODER(NAME, BYTES, STEREO)                                                                           \
    static void vg_pcm_decode_##NAME(const unsigned char *restrict in, ptrdiff_t frames, ptrdiff_t channels,          \
                                     ptrdiff_t plane_stride, float *restrict out) {                                   \
        if (channels == 1) {                                                                                          \
            for (ptrdiff_t i = 0; i < frames; i++) out[i] = vg_read_##NAME(in + i * (BYTES));                         \
        } else if (channels == 2) {                                                                                   \
            float *restrict right = out + plane_stride;                                                               \
            for (ptrdiff_t i = 0; i < frames; i++) STEREO(NAME, BYTES, in + i * (2 * (BYTES)), out[i], right[i]);     \
        } else {                                                                                                      \
            for (ptrdiff_t c = 0; c < channels; c++)                                                                  \
                for (ptrdiff_t i = 0; i < frames; i++)                                                                \
                    out[c * plane_stride + i] = vg_read_##NAME(in + (i * channels + c) * (BYTES));                    \
        }                                                                                                             \
    }

#define VG_STEREO(NAME, BYTES, p, left, right) ((left) = vg_read_##NAME(p), (right) = vg_read_##NAME((p) + (BYTES)))

/* A 16-bit stereo frame is one 32-bit word: two shifts instead of the shuffles a stride of two costs without AVX2
 * (1.6x). */
#define VG_STEREO_S16(NAME, BYTES, p, left, right)                                                                    \
    do {                                                                                                              \
        uint32_t word = vg_load_u32(p);                                                                               \
        (left) = (float)(int32_t)(word << 16) * (1.0f / 2147483648.0f);                                               \
        (right) = (float)(int32_t)(word & 0xffff0000u) * (1.0f / 2147483648.0f);                                      \
    } while (0)

VG_PCM_DECODER(u8, 1, VG_STEREO)
VG_PCM_DECODER(s16, 2, VG_STEREO_S16)
VG_PCM_DECODER(s24, 3, VG_STEREO)
VG_PCM_DECODER(s32, 4, VG_STEREO)
VG_PCM_DECODER(f32, 4, VG_STEREO)
VG_PCM_DECODER(f64, 8, VG_STEREO)
VG_PCM_DECODER(mulaw, 1, VG_STEREO)
VG_PCM_DECODER(alaw, 1, VG_STEREO)

typedef struct {
    const char *name;
    int sample_bytes;
    vg_pcm_decode_t decode;
} vg_pcm_encoding_t;

enum { VG_PCM_ENCODINGS = 8 };

static const vg_pcm_encoding_t vg_pcm_encodings[VG_PCM_ENCODINGS] = {
    {"s16", 2, vg_pcm_decode_s16}, {"s32", 4, vg_pcm_decode_s32},     {"u8", 1, vg_pcm_decode_u8},
    {"s24", 3, vg_pcm_decode_s24}, {"f32", 4, vg_pcm_decode_f32},     {"f64", 8, vg_pcm_decode_f64},
    {"mulaw", 1, vg_pcm_decode_mulaw}, {"alaw", 1, vg_pcm_decode_alaw},
};

/* Fills the G.711 tables: the decoder output values of ITU-T G.711 (11/88), tables 1 and 2, on the 16-bit scale. */
static inline void vg_pcm_init(void) {
    for (int byte = 0; byte < 256; byte++) {
        int code = ~byte & 0xff; /* mu-law is sent with every bit inverted */
        int magnitude = ((((code & 15) << 3) + 132) << (code >> 4 & 7)) - 132;
        vg_pcm_mulaw[byte] = (float)(code & 0x80 ? -magnitude : magnitude) * (1.0f / 32768.0f);

        code = byte ^ 0x55; /* A-law with the even bits inverted; its sign bit set means positive */
        int segment = code >> 4 & 7;
        magnitude = ((code & 15) << 4) + 8;
        if (segment > 0) magnitude = (magnitude + 256) << (segment - 1);
        vg_pcm_alaw[byte] = (float)(code & 0x80 ? magnitude : -magnitude) * (1.0f / 32768.0f);
    }
}

#endif
