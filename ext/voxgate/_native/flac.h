/* One frame of FLAC (RFC 9639): its head, its samples. No state, no allocation, at most 24 bits a sample. */
#ifndef VOXGATE_FLAC_H
#define VOXGATE_FLAC_H

#include <stdint.h>
#include <string.h>

enum { FLAC_MAX_BLOCK = 65535, FLAC_MAX_CHANNELS = 8, FLAC_NEEDS_MORE = 0, FLAC_BROKEN = -1, FLAC_UNSUPPORTED = -2 };

typedef struct {
    /* From STREAMINFO. */
    int32_t rate, channels, bits, block;
} flac_info;

typedef struct {
    int32_t head_bytes, samples, rate, channels, bits, assignment;
    int32_t is_variable;
    uint64_t number; /* of its first sample, or of the frame */
} flac_head;

typedef struct {
    const uint8_t *data;
    int64_t n_bits, pos;
} flac_bits;

static uint8_t flac_crc8_table[256];
static uint16_t flac_crc16_table[256];

static void flac_fill_tables(void) {
    for (int index = 0; index < 256; index++) {
        uint8_t small = (uint8_t)index;
        uint16_t large = (uint16_t)(index << 8);
        for (int bit = 0; bit < 8; bit++) {
            small = (uint8_t)(small << 1 ^ (small & 0x80 ? 0x07 : 0));
            large = (uint16_t)(large << 1 ^ (large & 0x8000 ? 0x8005 : 0));
        }
        flac_crc8_table[index] = small;
        flac_crc16_table[index] = large;
    }
}

static inline uint16_t flac_crc16(uint16_t crc, uint8_t byte) {
    return (uint16_t)(crc << 8 ^ flac_crc16_table[(crc >> 8 ^ byte) & 0xFF]);
}

/* The next 57 bits or more, from the top; those behind the end are 0. */
static inline uint64_t flac_peek(const flac_bits *bits) {
    int64_t byte = bits->pos >> 3, n = (bits->n_bits >> 3) - byte;
    uint64_t value = 0;
    if (n >= 8) {
        memcpy(&value, bits->data + byte, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        value = __builtin_bswap64(value);
#endif
    } else {
        for (int64_t index = 0; index < n; index++) value |= (uint64_t)bits->data[byte + index] << (56 - 8 * index);
    }
    return value << (bits->pos & 7);
}

/* n: 1 to 32 */
static inline uint32_t flac_unsigned(flac_bits *bits, int n) {
    uint64_t value = flac_peek(bits);
    bits->pos += n;
    return (uint32_t)(value >> (64 - n));
}

static inline int32_t flac_signed(flac_bits *bits, int n) {
    int64_t value = (int64_t)flac_peek(bits);
    bits->pos += n;
    return (int32_t)(value >> (64 - n));
}

/* Zeros before the next 1; -1: there is none. */
static inline int64_t flac_zeros(flac_bits *bits) {
    int64_t begin = bits->pos;
    while (bits->pos < bits->n_bits) {
        uint64_t value = flac_peek(bits);
        if (value != 0) {
            bits->pos += __builtin_clzll(value) + 1;
            return bits->pos <= bits->n_bits ? bits->pos - begin - 1 : -1;
        }
        bits->pos += 64 - (bits->pos & 7);
    }
    return -1;
}

/* Parses the head of a frame. Returns its bytes, FLAC_NEEDS_MORE, FLAC_BROKEN or FLAC_UNSUPPORTED. */
static int flac_read_head(const uint8_t *data, int64_t n, const flac_info *info, flac_head *head) {
    static const int32_t rates[12] = {0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000};
    static const int32_t depths[8] = {0, 8, 12, -1, 16, 20, 24, 32};
    if (n >= 1 && data[0] != 0xFF) return FLAC_BROKEN;
    if (n >= 2 && (data[1] & 0xFE) != 0xF8) return FLAC_BROKEN;
    if (n < 5) return FLAC_NEEDS_MORE;
    int block = data[2] >> 4, rate = data[2] & 15, depth = data[3] >> 1 & 7, at = 4;
    if (block == 0 || rate == 15 || (data[3] >> 4) > 10 || depths[depth] < 0 || data[3] & 1) return FLAC_BROKEN;
    uint64_t number = data[4];
    int more = 0;
    if (number >= 0x80) {
        while (more < 7 && (number & (0x80u >> more))) more++;
        if (more < 2 || more > 7 || number == 0xFF) return FLAC_BROKEN;
        number &= more == 7 ? 0 : (0x7Fu >> more);
        more--;
    }
    at++;
    int size = at + more + (block == 6 ? 1 : block == 7 ? 2 : 0) + (rate == 12 ? 1 : rate > 12 ? 2 : 0) + 1;
    if (n < size) return FLAC_NEEDS_MORE;
    for (; more > 0; more--) {
        if ((data[at] & 0xC0) != 0x80) return FLAC_BROKEN;
        number = number << 6 | (data[at++] & 0x3F);
    }
    if (block == 6) {
        head->samples = data[at++] + 1;
    } else if (block == 7) {
        head->samples = (data[at] << 8 | data[at + 1]) + 1;
        at += 2;
    } else {
        head->samples = block == 1 ? 192 : block < 6 ? 576 << (block - 2) : 256 << (block - 8);
    }
    if (rate < 12) {
        head->rate = rate == 0 ? info->rate : rates[rate];
    } else if (rate == 12) {
        head->rate = data[at++] * 1000;
    } else {
        head->rate = (data[at] << 8 | data[at + 1]) * (rate == 14 ? 10 : 1);
        at += 2;
    }
    uint8_t crc = 0;
    for (int index = 0; index < at; index++) crc = flac_crc8_table[crc ^ data[index]];
    if (crc != data[at++]) return FLAC_BROKEN;
    head->assignment = data[3] >> 4;
    head->channels = head->assignment < 8 ? head->assignment + 1 : 2;
    head->bits = depth == 0 ? info->bits : depths[depth];
    head->is_variable = data[1] & 1;
    head->number = number;
    head->head_bytes = at;
    if (head->samples > FLAC_MAX_BLOCK) return FLAC_BROKEN;
    if (head->bits > 24) return FLAC_UNSUPPORTED;
    return at;
}

/* The residual of a subframe, from samples[order] on. */
static int flac_residual(flac_bits *bits, int32_t *samples, int n, int order) {
    int method = (int)flac_unsigned(bits, 2), partitions = (int)flac_unsigned(bits, 4);
    if (bits->pos > bits->n_bits) return FLAC_NEEDS_MORE;
    if (method > 1 || (n & ((1 << partitions) - 1)) != 0 || (n >> partitions) < order) return FLAC_BROKEN;
    int width = method == 0 ? 4 : 5, escape = (1 << width) - 1, at = order;
    for (int partition = 0; partition < 1 << partitions; partition++) {
        int end = (n >> partitions) * (partition + 1), rice = (int)flac_unsigned(bits, width);
        if (rice == escape) {
            int depth = (int)flac_unsigned(bits, 5);
            for (; at < end; at++) samples[at] = depth == 0 ? 0 : flac_signed(bits, depth);
            if (bits->pos > bits->n_bits) return FLAC_NEEDS_MORE;
            continue;
        }
        for (; at < end; at++) {
            int64_t zeros = flac_zeros(bits);
            if (zeros < 0) return FLAC_NEEDS_MORE;
            if (zeros > (int64_t)(UINT32_MAX >> rice)) return FLAC_BROKEN;
            uint32_t value = (uint32_t)zeros << rice;
            if (rice > 0) value |= flac_unsigned(bits, rice);
            samples[at] = (int32_t)(value >> 1 ^ (0u - (value & 1)));
        }
        if (bits->pos > bits->n_bits) return FLAC_NEEDS_MORE;
    }
    return 1;
}

static int flac_subframe(flac_bits *bits, int32_t *samples, int n, int depth) {
    uint32_t first = flac_unsigned(bits, 8);
    int kind = (int)(first >> 1 & 63), wasted = 0, done;
    if (bits->pos > bits->n_bits) return FLAC_NEEDS_MORE;
    if (first & 0x80) return FLAC_BROKEN;
    if (first & 1) {
        int64_t zeros = flac_zeros(bits);
        if (zeros < 0) return FLAC_NEEDS_MORE;
        if (zeros + 1 >= depth) return FLAC_BROKEN;
        wasted = (int)zeros + 1;
        depth -= wasted;
    }
    if (kind == 0) {
        int32_t value = flac_signed(bits, depth);
        for (int index = 0; index < n; index++) samples[index] = value;
    } else if (kind == 1) {
        if ((int64_t)n * depth > bits->n_bits - bits->pos) return FLAC_NEEDS_MORE;
        for (int index = 0; index < n; index++) samples[index] = flac_signed(bits, depth);
    } else if (kind >= 8 && kind <= 12) {
        int order = kind - 8;
        if (order > n) return FLAC_BROKEN;
        for (int index = 0; index < order; index++) samples[index] = flac_signed(bits, depth);
        if ((done = flac_residual(bits, samples, n, order)) <= 0) return done;
        for (int index = order; index < n; index++) {
            const int32_t *at = samples + index;
            int64_t value = at[0];
            if (order == 1) value += at[-1];
            else if (order == 2) value += 2 * (int64_t)at[-1] - at[-2];
            else if (order == 3) value += 3 * ((int64_t)at[-1] - at[-2]) + at[-3];
            else if (order == 4) value += 4 * ((int64_t)at[-1] + at[-3]) - 6 * (int64_t)at[-2] - at[-4];
            samples[index] = (int32_t)(uint32_t)(uint64_t)value;
        }
    } else if (kind >= 32) {
        int order = kind - 31, precision, shift;
        int32_t weights[32];
        if (order > n) return FLAC_BROKEN;
        for (int index = 0; index < order; index++) samples[index] = flac_signed(bits, depth);
        precision = (int)flac_unsigned(bits, 4) + 1;
        shift = flac_signed(bits, 5);
        if (bits->pos > bits->n_bits) return FLAC_NEEDS_MORE;
        if (precision == 16 || shift < 0) return FLAC_BROKEN;
        for (int index = 0; index < order; index++) weights[index] = flac_signed(bits, precision);
        if ((done = flac_residual(bits, samples, n, order)) <= 0) return done;
        for (int index = order; index < n; index++) {
            int64_t sum = 0;
            for (int tap = 0; tap < order; tap++) sum += (int64_t)weights[tap] * samples[index - 1 - tap];
            samples[index] = (int32_t)(uint32_t)(uint64_t)(samples[index] + (sum >> shift));
        }
    } else {
        return FLAC_BROKEN;
    }
    if (bits->pos > bits->n_bits) return FLAC_NEEDS_MORE;
    if (wasted > 0)
        for (int index = 0; index < n; index++) samples[index] = (int32_t)((uint32_t)samples[index] << wasted);
    return 1;
}

/* Decodes the frame at `data` with this head to planes of head->samples each. Returns the bytes of the frame, its CRC
 * included but not looked at, FLAC_NEEDS_MORE or FLAC_BROKEN. */
static int64_t flac_decode(const uint8_t *data, int64_t n, const flac_head *head, int32_t *planes) {
    flac_bits bits = {data, n * 8, head->head_bytes * 8};
    int size = head->samples;
    for (int channel = 0; channel < head->channels; channel++) {
        int is_side = (channel == 1 && (head->assignment == 8 || head->assignment == 10)) ||
                      (channel == 0 && head->assignment == 9);
        int done = flac_subframe(&bits, planes + (int64_t)channel * size, size, head->bits + is_side);
        if (done <= 0) return done;
    }
    int32_t *first = planes, *second = planes + size;
    if (head->assignment >= 8)
        for (int index = 0; index < size; index++) {
            int64_t one = first[index], two = second[index];
            if (head->assignment == 8) {
                two = one - two;
            } else if (head->assignment == 9) {
                one = one + two;
            } else {
                int64_t mid = one * 2 + (two & 1);
                one = (mid + two) >> 1;
                two = (mid - two) >> 1;
            }
            first[index] = (int32_t)(uint32_t)(uint64_t)one;
            second[index] = (int32_t)(uint32_t)(uint64_t)two;
        }
    int64_t end = (bits.pos + 7) / 8 + 2;
    return end <= n ? end : FLAC_NEEDS_MORE;
}

/* Interleaves: 16 bits for frames of at most 16, else float32. */
static void flac_interleave(const flac_head *head, const int32_t *planes, void *out) {
    int size = head->samples, channels = head->channels;
    if (head->bits <= 16) {
        int32_t scale = 1 << (16 - head->bits);
        int16_t *to = out;
        for (int channel = 0; channel < channels; channel++)
            for (int index = 0; index < size; index++)
                to[(int64_t)index * channels + channel] =
                    (int16_t)(uint16_t)((uint32_t)planes[(int64_t)channel * size + index] * (uint32_t)scale);
    } else {
        float scale = 1.0f / (float)(1 << (head->bits - 1)), *to = out;
        for (int channel = 0; channel < channels; channel++)
            for (int index = 0; index < size; index++)
                to[(int64_t)index * channels + channel] = (float)planes[(int64_t)channel * size + index] * scale;
    }
}

#endif
