/* The Silero network for one instruction set: a template, included by silero.h once per instruction set after
 * vecmath.h and silero_product.h.
 *
 * Everything but the spectrum is a sum of products `y += W x`. A convolution is one product per tap: its input lies
 * time step by time step, the channels of one step side by side, so that "input at step t" is a plain pointer, and
 * only those (step, tap) pairs are visited that exist. All columns (steps of all channels) that meet the same weights
 * go through one call. */

#if defined(__clang__)
#define VG_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VG_UNROLL _Pragma("GCC unroll 16")
#endif

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
    memset(first + 128, 0, (VG_SILERO_SPECTRUM_STRIDE - 128) * sizeof(float));
    memset(second + 128, 0, (VG_SILERO_SPECTRUM_STRIDE - 128) * sizeof(float));
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

#if VG_SHORTS
/* What one channel brings to a product of shorts: up to four columns, each in two halves with scales of their own. */
typedef struct {
    int16_t values[4][VG_SILERO_SPECTRUM_STRIDE] __attribute__((aligned(64)));
    float scale[4][2];
} V(shorts_t);

/* n numbers as the halves of a column: the first 64, and the rest. */
VG_INLINE void V(shorten_halves)(V(shorts_t) *shorts, int column, const float *x, ptrdiff_t n) {
    shorts->scale[column][0] = V(shorten)(x, 64, shorts->values[column]);
    shorts->scale[column][1] = V(shorten)(x + 64, n - 64, shorts->values[column] + 64);
}

VG_TARGET static void V(first_convolution_of_shorts)(
    const vg_silero_net_t *net, int n, const V(shorts_t) *shorts, float (*out)[512]
) {
    const float *x[4 * VG_SILERO_BATCH];
    float *y[4 * VG_SILERO_BATCH], scale[4 * VG_SILERO_BATCH];
    for (int tap = 0; tap < 3; tap++)
        for (int half = 0; half < 2; half++) {
            int n_cols = 0;
            for (int c = 0; c < n; c++)
                for (int t = 0; t < 4; t++) {
                    const int from = t + tap - 1;
                    if (from < 0 || from > 3) continue;
                    x[n_cols] = (const float *)(shorts[c].values[from] + 64 * half);
                    scale[n_cols] = shorts[c].scale[from][half];
                    y[n_cols++] = out[c] + 128 * t;
                }
            V(convolution_of_shorts)(&net->short_conv[tap][half], half ? 33 : 32, 128, n_cols, x, scale, y);
        }
}

/* y[c] += the gates of x[c] and of the hidden state. */
VG_TARGET static void V(gates_of_shorts)(
    const vg_silero_net_t *net, int n, V(shorts_t) *shorts, const float *const *x, vg_silero_state_t *const *states,
    float *const *y
) {
    const float *column[VG_SILERO_BATCH];
    float scale[VG_SILERO_BATCH];
    for (int c = 0; c < n; c++) {
        V(shorten_halves)(shorts + c, 0, x[c], 128);
        for (int i = 0; i < 128; i += VG_LANES) /* within -1..1 */
            V(to_shorts)(shorts[c].values[1] + i, V(load)(states[c]->hidden + i) * V(set1)(VG_SHORT_TOP));
        shorts[c].scale[1][0] = shorts[c].scale[1][1] = 1.0f / VG_SHORT_TOP;
    }
    for (int of = 0; of < 2; of++)
        for (int half = 0; half < 2; half++) {
            for (int c = 0; c < n; c++) {
                column[c] = (const float *)(shorts[c].values[of] + 64 * half);
                scale[c] = shorts[c].scale[of][half];
            }
            V(product_of_shorts)(&net->short_gates[of][half], 32, 512, n, column, scale, y);
        }
}
#endif

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
#if VG_SHORTS
    V(shorts_t) shorts[VG_SILERO_BATCH];
#endif

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
#if VG_SHORTS
        for (int t = 0; t < 4 && net->shorts; t++)
            V(shorten_halves)(shorts + c, t, even[c] + VG_SILERO_SPECTRUM_STRIDE * t, VG_SILERO_SPECTRUM_STRIDE);
#endif
        for (int t = 0; t < 4; t++) memcpy(odd[c] + 128 * t, net->conv_bias[0], 128 * sizeof(float));
    }

    /* conv0: 129 -> 128, four steps in, four out. */
#if VG_SHORTS
    if (net->shorts) V(first_convolution_of_shorts)(net, n, shorts, odd);
#endif
    for (int tap = 0; tap < 3 && !net->shorts; tap++) {
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
#if VG_SHORTS
    if (net->shorts) {
        V(gates_of_shorts)(net, n, shorts, x, states, y);
    } else
#endif
    {
        V(product)(net->gates_input, 128, 512, n, x, y);
        for (int c = 0; c < n; c++) x[c] = states[c]->hidden;
        V(product)(net->gates_hidden, 128, 512, n, x, y);
    }

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
