/* The Silero network for one instruction set: a template, included by silero.h once per instruction set after
 * vecmath.h.
 *
 * The includer also defines VG_PANEL_VECTORS (vectors of outputs that a tile computes) and VG_TILE_COLUMNS (columns of
 * inputs it takes at most): together they must leave registers free for the weights and the broadcast, or the compiler
 * spills and all is lost.
 *
 * Everything but the spectrum is a sum of products `y += W x`. A convolution is one product per tap: its input lies
 * time step by time step, the channels of one step side by side, so that "input at step t" is a plain pointer, and
 * only those (step, tap) pairs are visited that exist. All columns (steps of all channels) that meet the same weights
 * go through one call. */

enum { V(panel) = VG_PANEL_VECTORS * VG_LANES };

#if defined(__clang__)
#define VG_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VG_UNROLL _Pragma("GCC unroll 16")
#endif

/* n_panels tiles side by side: y[c][0..n_panels * panel) += w[i][...] * x[c][i], over i < n, for n_cols columns.
 * n_cols, n_panels and half (the weights are half floats) are constants in every call. Few columns take several panels
 * at once, so as not to wait for the latency of their own additions. Every output is one sum in the order of its
 * inputs, whatever the shape of the tile: a channel's result does not depend, to the last bit, on how many others it
 * is computed with.
 *
 * The sums must live in registers: every index is a literal, written out by the preprocessor, since no compiler is
 * sure to unroll the loops before it decides what stays in memory. */
#define VG_VECTORS(M, p, c) M(p, c, 0) M(p, c, 1) M(p, c, 2) M(p, c, 3)
#define VG_COLUMNS(M, p) M(p, 0) M(p, 1) M(p, 2) M(p, 3) M(p, 4) M(p, 5) M(p, 6) M(p, 7)
#define VG_PANELS(M) M(0) M(1) M(2) M(3)

#define VG_PLACE(p, c, v) (y[c] + out + p * V(panel) + v * VG_LANES)
#define VG_BEGIN_VECTOR(p, c, v) if (v < VG_PANEL_VECTORS) sum[p][c][v] = V(load)(VG_PLACE(p, c, v));
#define VG_BEGIN_COLUMN(p, c) if (c < n_cols) { column[c] = x[c]; VG_VECTORS(VG_BEGIN_VECTOR, p, c) }
#define VG_BEGIN(p) if (p < n_panels) { VG_COLUMNS(VG_BEGIN_COLUMN, p) }

#define VG_WEIGHT(p, c, v) if (v < VG_PANEL_VECTORS) weight[v] = V(weights)(w, half, p * V(panel) + v * VG_LANES);
#define VG_STEP_VECTOR(p, c, v) if (v < VG_PANEL_VECTORS) sum[p][c][v] = V(fma)(weight[v], value, sum[p][c][v]);
#define VG_STEP_COLUMN(p, c) \
    if (c < n_cols) { const V(vec) value = V(set1)(column[c][i]); VG_VECTORS(VG_STEP_VECTOR, p, c) }
#define VG_STEP(p) if (p < n_panels) { V(vec) weight[4]; VG_VECTORS(VG_WEIGHT, p, 0) VG_COLUMNS(VG_STEP_COLUMN, p) }

#define VG_END_VECTOR(p, c, v) if (v < VG_PANEL_VECTORS) V(store)(VG_PLACE(p, c, v), sum[p][c][v]);
#define VG_END_COLUMN(p, c) if (c < n_cols) { VG_VECTORS(VG_END_VECTOR, p, c) }
#define VG_END(p) if (p < n_panels) { VG_COLUMNS(VG_END_COLUMN, p) }

VG_INLINE V(vec) V(weights)(const char *w, const int half, ptrdiff_t at) {
#if VG_ISA != VG_ISA_PORTABLE
    if (half) return V(load_half)((const uint16_t *)w + at);
#endif
    return V(load)((const float *)w + at);
}

VG_INLINE void V(tile)(
    const int n_cols, const int n_panels, const int half, const char *w, ptrdiff_t row, ptrdiff_t n,
    const float *const *x, float *const *y, ptrdiff_t out
) {
    V(vec) sum[4][8][4];
    const float *column[8];
    VG_PANELS(VG_BEGIN)
    for (ptrdiff_t i = 0; i < n; i++, w += row) {
        /* Few columns wait for the weights, and the processor's own prefetching does not run far enough ahead of them.
         * Past the end is harmless. */
        if (n_cols < VG_TILE_COLUMNS)
            for (int line = 0; line < n_panels * V(panel) * (half ? 2 : 4); line += 64)
                __builtin_prefetch(w + 4096 + line);
        VG_PANELS(VG_STEP)
    }
    VG_PANELS(VG_END)
}

#undef VG_VECTORS
#undef VG_COLUMNS
#undef VG_PANELS
#undef VG_PLACE
#undef VG_BEGIN_VECTOR
#undef VG_BEGIN_COLUMN
#undef VG_BEGIN
#undef VG_WEIGHT
#undef VG_STEP_VECTOR
#undef VG_STEP_COLUMN
#undef VG_STEP
#undef VG_END_VECTOR
#undef VG_END_COLUMN
#undef VG_END

/* n_cols columns times one group of outputs. */
VG_INLINE void V(columns)(
    const int n_cols, const int n_panels, const int group, const int half, const char *w, ptrdiff_t n,
    const float *const *x, float *const *y, ptrdiff_t out
) {
    const ptrdiff_t bytes = half ? 2 : 4;
    for (int at = 0; at < group; at += n_panels * V(panel))
        V(tile)(n_cols, n_panels, half, w + at * bytes, group * bytes, n, x, y, out + at);
}

/* y[c][0..n_out) += W x[c] for all columns. W is packed in groups of outputs, [group][input][output in the group]: one
 * column alone reads it from front to back, and many columns meet a group while it lies in the first cache. */
VG_INLINE void V(product_of)(
    const int group, const int half, const char *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols,
    const float *const *x, float *const *y
) {
    for (ptrdiff_t out = 0; out < n_out; out += group, w += n * group * (half ? 2 : 4)) {
        int c = 0;
        for (; c + VG_TILE_COLUMNS <= n_cols; c += VG_TILE_COLUMNS)
            V(columns)(VG_TILE_COLUMNS, 1, group, half, w, n, x + c, y + c, out);
        switch (n_cols - c) {
        case 1: V(columns)(1, VG_PANELS_FOR_1(group), group, half, w, n, x + c, y + c, out); break;
        case 2: V(columns)(2, VG_PANELS_FOR_2, group, half, w, n, x + c, y + c, out); break;
        case 3: V(columns)(3, VG_PANELS_FOR_3, group, half, w, n, x + c, y + c, out); break;
#if VG_TILE_COLUMNS > 4
        case 4: V(columns)(4, VG_PANELS_FOR_4, group, half, w, n, x + c, y + c, out); break;
        case 5: V(columns)(5, 1, group, half, w, n, x + c, y + c, out); break;
#endif
#if VG_TILE_COLUMNS > 6
        case 6: V(columns)(6, 1, group, half, w, n, x + c, y + c, out); break;
        case 7: V(columns)(7, 1, group, half, w, n, x + c, y + c, out); break;
#endif
        default: break;
        }
    }
}

VG_TARGET static __attribute__((noinline)) void V(product)(
    const float *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols, const float *const *x, float *const *y
) {
    V(product_of)(vg_silero_gates_group(VG_ISA), 0, (const char *)w, n, n_out, n_cols, x, y);
}

/* The same for a convolution, whose weights may be half floats. */
VG_TARGET static __attribute__((noinline)) void V(convolution)(
    const vg_silero_net_t *net, const void *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols,
    const float *const *x, float *const *y
) {
#if VG_ISA != VG_ISA_PORTABLE
    if (net->half) {
        V(product_of)(VG_CONV_GROUP, 1, (const char *)w, n, n_out, n_cols, x, y);
        return;
    }
#endif
    V(product_of)(VG_CONV_GROUP, 0, (const char *)w, n, n_out, n_cols, x, y);
}

/* (re, im) *= (cos - i sin) */
VG_INLINE void V(rotate)(V(vec) *re, V(vec) *im, V(vec) cosine, V(vec) sine) {
    V(vec) r = V(fma)(*im, sine, *re * cosine);
    *im = V(fma)(-*re, sine, *im * cosine);
    *re = r;
}

/* A Fourier transform of four values, in place at slots 0, step, 2 step and 3 step. */
VG_INLINE void V(fourier4)(V(vec) *re, V(vec) *im, const int step) {
    V(vec) sum02r = re[0] + re[2 * step], sum02i = im[0] + im[2 * step];
    V(vec) dif02r = re[0] - re[2 * step], dif02i = im[0] - im[2 * step];
    V(vec) sum13r = re[step] + re[3 * step], sum13i = im[step] + im[3 * step];
    V(vec) dif13r = re[step] - re[3 * step], dif13i = im[step] - im[3 * step];
    re[0] = sum02r + sum13r, im[0] = sum02i + sum13i;
    re[step] = dif02r + dif13i, im[step] = dif02i - dif13r;
    re[2 * step] = sum02r - sum13r, im[2 * step] = sum02i - sum13i;
    re[3 * step] = dif02r - dif13i, im[3 * step] = dif02i + dif13r;
}

/* A Fourier transform of sixteen values per lane, as four times four, in place; value k ends in slot 4 (k % 4) + k /
 * 4. */
VG_INLINE void V(fourier16)(V(vec) *re, V(vec) *im) {
    VG_UNROLL for (int b = 0; b < 4; b++) V(fourier4)(re + b, im + b, 4);
    const V(vec) c1 = V(set1)(0.923879533f), s1 = V(set1)(0.382683432f), half = V(set1)(0.707106781f);
    V(rotate)(re + 5, im + 5, c1, s1);      /* angle 1 of 16 */
    V(rotate)(re + 6, im + 6, half, half);  /* 2 */
    V(rotate)(re + 7, im + 7, s1, c1);      /* 3 */
    V(rotate)(re + 9, im + 9, half, half);  /* 2 */
    V(vec) turned = re[10];                 /* 4: a quarter turn */
    re[10] = im[10], im[10] = -turned;
    V(rotate)(re + 11, im + 11, -half, half); /* 6 */
    V(rotate)(re + 13, im + 13, s1, c1);      /* 3 */
    V(rotate)(re + 14, im + 14, -half, half); /* 6 */
    V(rotate)(re + 15, im + 15, -c1, -s1);    /* 9 */
    VG_UNROLL for (int c = 0; c < 4; c++) V(fourier4)(re + 4 * c, im + 4 * c, 1);
}

/* Magnitudes of two neighbouring windows of 256 samples, begun 128 samples apart: one complex transform with the first
 * as its real and the second as its imaginary part. 256 = 16 x 16: sixteen transforms down the columns (lanes), a
 * rotation, a transposition, sixteen more. */
VG_TARGET static void V(magnitudes)(const vg_silero_net_t *net, const float *wave, float *first, float *second) {
    float columns_re[256] __attribute__((aligned(64))), columns_im[256] __attribute__((aligned(64)));
    float re[256 + VG_LANES] __attribute__((aligned(64))), im[256 + VG_LANES] __attribute__((aligned(64)));
    V(vec) r[16], i[16];
    for (int lane = 0; lane < 16; lane += VG_LANES) {
        VG_UNROLL for (int row = 0; row < 16; row++) {
            V(vec) window = V(load)(net->window + 16 * row + lane);
            r[row] = V(load)(wave + 16 * row + lane) * window;
            i[row] = V(load)(wave + VG_SILERO_HOP + 16 * row + lane) * window;
        }
        V(fourier16)(r, i);
        VG_UNROLL for (int slot = 0; slot < 16; slot++) {
            const int k = slot / 4 + 4 * (slot % 4);
            V(rotate)(r + slot, i + slot, V(load)(net->cosines + 16 * k + lane), V(load)(net->sines + 16 * k + lane));
            V(store)(columns_re + 16 * k + lane, r[slot]);
            V(store)(columns_im + 16 * k + lane, i[slot]);
        }
    }
    for (int lane = 0; lane < 16; lane += VG_LANES) {
        VG_UNROLL for (int quad = 0; quad < 4; quad++) {
            for (int part = 0; part < 2; part++) {
                const float *from = (part ? columns_im : columns_re) + 16 * lane + 4 * quad;
                V(vec) *to = (part ? i : r) + 4 * quad;
                V(vec) a = V(load_quads)(from, 64), b = V(load_quads)(from + 16, 64);
                V(vec) c = V(load_quads)(from + 32, 64), d = V(load_quads)(from + 48, 64);
                V(vec) ab_low = V(low)(a, b), ab_high = V(high)(a, b), cd_low = V(low)(c, d), cd_high = V(high)(c, d);
                to[0] = V(low_pairs)(ab_low, cd_low), to[1] = V(high_pairs)(ab_low, cd_low);
                to[2] = V(low_pairs)(ab_high, cd_high), to[3] = V(high_pairs)(ab_high, cd_high);
            }
        }
        V(fourier16)(r, i);
        VG_UNROLL for (int slot = 0; slot < 16; slot++) {
            const int k = slot / 4 + 4 * (slot % 4);
            V(store)(re + 16 * k + lane, r[slot]);
            V(store)(im + 16 * k + lane, i[slot]);
        }
    }
    /* The two spectra are the even and the odd part of the one: from value k and value 256 - k. The halves are in the
     * window. */
    re[256] = re[0], im[256] = im[0];
    for (int k = 0; k < 128; k += VG_LANES) {
        V(vec) re_up = V(load)(re + k), im_up = V(load)(im + k);
        V(vec) re_down = V(reverse)(V(load)(re + 257 - VG_LANES - k));
        V(vec) im_down = V(reverse)(V(load)(im + 257 - VG_LANES - k));
        V(vec) a = re_up + re_down, b = im_up - im_down, c = im_up + im_down, d = re_up - re_down;
        V(store)(first + k, V(sqrt)(V(fma)(a, a, b * b)));
        V(store)(second + k, V(sqrt)(V(fma)(c, c, d * d)));
    }
    first[128] = 2.0f * __builtin_fabsf(re[128]);
    second[128] = 2.0f * __builtin_fabsf(im[128]);
}

VG_TARGET static void V(activations)(const float *x, ptrdiff_t n, float *sigmoid, float *tanh) {
    for (ptrdiff_t i = 0; i < n; i += VG_LANES) {
        V(store)(sigmoid + i, V(sigmoid)(V(load)(x + i)));
        V(store)(tanh + i, V(tanh)(V(load)(x + i)));
    }
}

VG_TARGET static void V(relu)(float *x, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += VG_LANES) V(store)(x + i, V(max)(V(load)(x + i), V(set1)(0.0f)));
}

/* One frame of up to VG_SILERO_BATCH channels. A channel whose frame is not made of finite numbers gets 0 and starts
 * anew: its context would spoil the next frame too. The state itself stays finite whatever comes, since the rectifiers
 * and the gates make numbers of NaN. */
VG_TARGET static void V(silero_batch)(
    const vg_silero_net_t *net, int n, vg_silero_state_t *const *states, const float *const *frames,
    float *probabilities
) {
    /* Two work areas per channel, used in turn: spectrum -> conv0 -> conv1, conv2, conv3 -> gates. */
    float even[VG_SILERO_BATCH][4 * VG_SILERO_SPECTRUM_STRIDE] __attribute__((aligned(64)));
    float odd[VG_SILERO_BATCH][512] __attribute__((aligned(64)));
    float poison[VG_SILERO_BATCH]; /* zero, or NaN where a frame is not made of finite numbers */
    const float *x[4 * VG_SILERO_BATCH];
    float *y[4 * VG_SILERO_BATCH];
    int n_cols;

    for (int c = 0; c < n; c++) {
        float wave[640] __attribute__((aligned(64)));
        memcpy(wave, states[c]->context, sizeof states[c]->context);
        memcpy(wave + 64, frames[c], VG_SILERO_FRAME * sizeof(float));
        memcpy(states[c]->context, wave + VG_SILERO_FRAME, sizeof states[c]->context);
        for (int i = 0; i < 64; i++) wave[576 + i] = wave[574 - i];
        V(vec) zero = V(set1)(0.0f);
        for (int i = 64; i < 576; i += VG_LANES) zero += V(load)(wave + i) * V(set1)(0.0f);
        poison[c] = V(sum)(zero);
        for (int t = 0; t < 4; t += 2) {
            float *spectrum = even[c] + VG_SILERO_SPECTRUM_STRIDE * t;
            V(magnitudes)(net, wave + VG_SILERO_HOP * t, spectrum, spectrum + VG_SILERO_SPECTRUM_STRIDE);
        }
        for (int t = 0; t < 4; t++) memcpy(odd[c] + 128 * t, net->conv_bias[0], 128 * sizeof(float));
    }

    /* conv0: 129 -> 128, four steps in, four out. */
    for (int tap = 0; tap < 3; tap++) {
        n_cols = 0;
        for (int c = 0; c < n; c++)
            for (int t = 0; t < 4; t++) {
                const int from = t + tap - 1;
                if (from < 0 || from > 3) continue;
                x[n_cols] = even[c] + VG_SILERO_SPECTRUM_STRIDE * from;
                y[n_cols++] = odd[c] + 128 * t;
            }
        V(convolution)(net, net->conv[0][tap], 129, 128, n_cols, x, y);
    }
    for (int c = 0; c < n; c++) V(relu)(odd[c], 512);

    /* conv1: 128 -> 64, stride 2: steps 0 and 2 remain. */
    for (int c = 0; c < n; c++)
        for (int t = 0; t < 2; t++) memcpy(even[c] + 64 * t, net->conv_bias[1], 64 * sizeof(float));
    for (int tap = 0; tap < 3; tap++) {
        n_cols = 0;
        for (int c = 0; c < n; c++)
            for (int t = 0; t < 2; t++) {
                const int from = 2 * t + tap - 1;
                if (from < 0) continue;
                x[n_cols] = odd[c] + 128 * from;
                y[n_cols++] = even[c] + 64 * t;
            }
        V(convolution)(net, net->conv[1][tap], 128, 64, n_cols, x, y);
    }

    /* conv2: 64 -> 64, stride 2: one step remains; its first tap meets only padding. conv3: 64 -> 128: only its middle
     * tap meets it. */
    for (int c = 0; c < n; c++) {
        V(relu)(even[c], 128);
        memcpy(even[c] + 128, net->conv_bias[2], 64 * sizeof(float));
        memcpy(even[c] + 192, net->conv_bias[3], 128 * sizeof(float));
    }
    for (int tap = 1; tap < 3; tap++) {
        for (int c = 0; c < n; c++) x[c] = even[c] + 64 * (tap - 1), y[c] = even[c] + 128;
        V(convolution)(net, net->conv[2][tap], 64, 64, n, x, y);
    }
    for (int c = 0; c < n; c++) {
        V(relu)(even[c] + 128, 64);
        x[c] = even[c] + 128, y[c] = even[c] + 192;
    }
    V(convolution)(net, net->conv[3][1], 64, 128, n, x, y);

    /* The LSTM: all four gates of the input and of the hidden state. */
    for (int c = 0; c < n; c++) {
        V(relu)(even[c] + 192, 128);
        memcpy(odd[c], net->gate_bias, 512 * sizeof(float));
        x[c] = even[c] + 192, y[c] = odd[c];
    }
    V(product)(net->gates_input, 128, 512, n, x, y);
    for (int c = 0; c < n; c++) x[c] = states[c]->hidden;
    V(product)(net->gates_hidden, 128, 512, n, x, y);

    for (int c = 0; c < n; c++) {
        vg_silero_state_t *state = states[c];
        const float *gates = odd[c];
        V(vec) logit = V(set1)(0.0f);
        for (int i = 0; i < 128; i += VG_LANES) {
            V(vec) keep = V(sigmoid)(V(load)(gates + 128 + i)) * V(load)(state->cell + i);
            V(vec) cell = V(fma)(V(sigmoid)(V(load)(gates + i)), V(tanh)(V(load)(gates + 256 + i)), keep);
            V(vec) hidden = V(sigmoid)(V(load)(gates + 384 + i)) * V(tanh)(cell);
            V(store)(state->cell + i, cell);
            V(store)(state->hidden + i, hidden);
            logit = V(fma)(V(max)(hidden, V(set1)(0.0f)), V(load)(net->out_weight + i), logit);
        }
        probabilities[c] = V(sigmoid)(V(set1)(V(sum)(logit) + net->out_bias))[0];
        if (!(poison[c] == 0.0f)) {
            memset(state, 0, sizeof *state);
            probabilities[c] = 0.0f;
        }
    }
}

#undef VG_UNROLL
#undef VG_PANEL_VECTORS
#undef VG_TILE_COLUMNS
#undef VG_PANELS_FOR_1
#undef VG_PANELS_FOR_2
#undef VG_PANELS_FOR_3
#undef VG_PANELS_FOR_4
