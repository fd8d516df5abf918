/* No include guard: resample_isa.h includes this once per instruction set, with RS_SUFFIX, RS_TARGET, RS_WIDTH, RS_VEC,
 * RS_ZERO, RS_FMA, RS_LOAD and RS_SUMS (four vectors -> the sum of each) defined. */

#define RS_JOIN2(name, suffix) name##_##suffix
#define RS_JOIN(name, suffix) RS_JOIN2(name, suffix)
#define RS_NAME(name) RS_JOIN(name, RS_SUFFIX)

/* Four outputs of one channel, or of two (`pair`, a constant where this is inlined), each with its own row. */
RS_INLINE RS_TARGET void RS_NAME(rs_block)(const float *row, ptrdiff_t taps, const float *in, ptrdiff_t in_stride,
                                           ptrdiff_t origin, const int32_t *positions, const int pair,
                                           rs_f4 sums[2]) {
    const float *r0 = row, *r1 = r0 + taps, *r2 = r1 + taps, *r3 = r2 + taps;
    const float *x0 = in + (origin + positions[0]), *x1 = in + (origin + positions[1]);
    const float *x2 = in + (origin + positions[2]), *x3 = in + (origin + positions[3]);
    RS_VEC a0 = RS_ZERO(), a1 = RS_ZERO(), a2 = RS_ZERO(), a3 = RS_ZERO();
    RS_VEC b0 = RS_ZERO(), b1 = RS_ZERO(), b2 = RS_ZERO(), b3 = RS_ZERO();
    for (ptrdiff_t tap = 0; tap < taps; tap += RS_WIDTH) {
        const RS_VEC c0 = RS_LOAD(r0 + tap), c1 = RS_LOAD(r1 + tap), c2 = RS_LOAD(r2 + tap), c3 = RS_LOAD(r3 + tap);
        a0 = RS_FMA(c0, RS_LOAD(x0 + tap), a0);
        a1 = RS_FMA(c1, RS_LOAD(x1 + tap), a1);
        a2 = RS_FMA(c2, RS_LOAD(x2 + tap), a2);
        a3 = RS_FMA(c3, RS_LOAD(x3 + tap), a3);
        if (pair) {
            b0 = RS_FMA(c0, RS_LOAD(x0 + in_stride + tap), b0);
            b1 = RS_FMA(c1, RS_LOAD(x1 + in_stride + tap), b1);
            b2 = RS_FMA(c2, RS_LOAD(x2 + in_stride + tap), b2);
            b3 = RS_FMA(c3, RS_LOAD(x3 + in_stride + tap), b3);
        }
    }
    sums[0] = RS_SUMS(a0, a1, a2, a3);
    if (pair) sums[1] = RS_SUMS(b0, b1, b2, b3);
}

/* All outputs of one channel or two. */
RS_INLINE RS_TARGET void RS_NAME(rs_outputs)(const rs_ratio_t *ratio, const float *in, ptrdiff_t in_stride,
                                             ptrdiff_t row, ptrdiff_t count, float *out, ptrdiff_t out_stride,
                                             const int pair) {
    const ptrdiff_t taps = ratio->taps, in_step = (ptrdiff_t)ratio->in_step, out_step = (ptrdiff_t)ratio->out_step;
    const int32_t *const positions = ratio->positions;
    ptrdiff_t origin = -(ptrdiff_t)positions[row];
    rs_f4 sums[2];
    for (; count >= 4; count -= 4, out += 4) {
        RS_NAME(rs_block)(ratio->rows + row * taps, taps, in, in_stride, origin, positions + row, pair, sums);
        memcpy(out, &sums[0], sizeof sums[0]);
        if (pair) memcpy(out + out_stride, &sums[1], sizeof sums[1]);
        for (row += 4; row >= out_step; row -= out_step) origin += in_step;
    }
    if (count > 0) {
        RS_NAME(rs_block)(ratio->rows + row * taps, taps, in, in_stride, origin, positions + row, pair, sums);
        for (ptrdiff_t k = 0; k < count; k++) {
            out[k] = sums[0][k];
            if (pair) out[out_stride + k] = sums[1][k];
        }
    }
}

/* Eight outputs which all have the same row: the rate is divided by the whole number `step`. */
RS_INLINE RS_TARGET void RS_NAME(rs_block_divided)(const float *row, ptrdiff_t taps, const float *in, ptrdiff_t step,
                                                   rs_f4 sums[2]) {
    const float *x0 = in, *x1 = x0 + step, *x2 = x1 + step, *x3 = x2 + step;
    const ptrdiff_t half = 4 * step;
    RS_VEC a0 = RS_ZERO(), a1 = RS_ZERO(), a2 = RS_ZERO(), a3 = RS_ZERO();
    RS_VEC b0 = RS_ZERO(), b1 = RS_ZERO(), b2 = RS_ZERO(), b3 = RS_ZERO();
    for (ptrdiff_t tap = 0; tap < taps; tap += RS_WIDTH) {
        const RS_VEC c = RS_LOAD(row + tap);
        a0 = RS_FMA(c, RS_LOAD(x0 + tap), a0);
        a1 = RS_FMA(c, RS_LOAD(x1 + tap), a1);
        a2 = RS_FMA(c, RS_LOAD(x2 + tap), a2);
        a3 = RS_FMA(c, RS_LOAD(x3 + tap), a3);
        b0 = RS_FMA(c, RS_LOAD(x0 + half + tap), b0);
        b1 = RS_FMA(c, RS_LOAD(x1 + half + tap), b1);
        b2 = RS_FMA(c, RS_LOAD(x2 + half + tap), b2);
        b3 = RS_FMA(c, RS_LOAD(x3 + half + tap), b3);
    }
    sums[0] = RS_SUMS(a0, a1, a2, a3);
    sums[1] = RS_SUMS(b0, b1, b2, b3);
}

/* All outputs of one channel. */
RS_INLINE RS_TARGET void RS_NAME(rs_outputs_divided)(const rs_ratio_t *ratio, const float *in, ptrdiff_t count,
                                                     float *out) {
    const ptrdiff_t taps = ratio->taps, step = (ptrdiff_t)ratio->in_step;
    rs_f4 sums[2];
    for (; count >= 8; count -= 8, out += 8, in += 8 * step) {
        RS_NAME(rs_block_divided)(ratio->rows, taps, in, step, sums);
        memcpy(out, sums, sizeof sums);
    }
    if (count > 0) {
        RS_NAME(rs_block_divided)(ratio->rows, taps, in, step, sums);
        for (ptrdiff_t k = 0; k < count; k++) out[k] = sums[k / 4][k % 4];
    }
}

/* Four outputs, each from between its row and the next one. */
RS_INLINE RS_TARGET rs_f4 RS_NAME(rs_block_between)(const float *const rows[4], ptrdiff_t taps,
                                                    const float *const in[4], rs_f4 weights) {
    const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    const float *x0 = in[0], *x1 = in[1], *x2 = in[2], *x3 = in[3];
    RS_VEC a0 = RS_ZERO(), a1 = RS_ZERO(), a2 = RS_ZERO(), a3 = RS_ZERO();
    RS_VEC b0 = RS_ZERO(), b1 = RS_ZERO(), b2 = RS_ZERO(), b3 = RS_ZERO();
    for (ptrdiff_t tap = 0; tap < taps; tap += RS_WIDTH) {
        const RS_VEC v0 = RS_LOAD(x0 + tap), v1 = RS_LOAD(x1 + tap), v2 = RS_LOAD(x2 + tap), v3 = RS_LOAD(x3 + tap);
        a0 = RS_FMA(RS_LOAD(r0 + tap), v0, a0);
        a1 = RS_FMA(RS_LOAD(r1 + tap), v1, a1);
        a2 = RS_FMA(RS_LOAD(r2 + tap), v2, a2);
        a3 = RS_FMA(RS_LOAD(r3 + tap), v3, a3);
        b0 = RS_FMA(RS_LOAD(r0 + taps + tap), v0, b0);
        b1 = RS_FMA(RS_LOAD(r1 + taps + tap), v1, b1);
        b2 = RS_FMA(RS_LOAD(r2 + taps + tap), v2, b2);
        b3 = RS_FMA(RS_LOAD(r3 + taps + tap), v3, b3);
    }
    const rs_f4 below = RS_SUMS(a0, a1, a2, a3), above = RS_SUMS(b0, b1, b2, b3);
    return below + weights * (above - below);
}

/* All outputs of one channel. */
RS_INLINE RS_TARGET void RS_NAME(rs_outputs_between)(const rs_ratio_t *ratio, const float *in, int64_t row,
                                                     ptrdiff_t count, float *out) {
    const ptrdiff_t taps = ratio->taps, step_samples = (ptrdiff_t)(ratio->in_step / ratio->out_step);
    const int64_t step_phase = ratio->in_step % ratio->out_step;
    const double rows_per_phase = (double)ratio->n_rows / (double)ratio->out_step;
    int64_t phase = row * ratio->in_step % ratio->out_step;
    for (; count > 0; count -= 4, out += 4) {
        const float *rows[4], *stretches[4];
        rs_f4 weights;
        for (int k = 0; k < 4; k++) {
            const double place = (double)phase * rows_per_phase;
            const ptrdiff_t below = (ptrdiff_t)place;
            rows[k] = ratio->rows + below * taps;
            weights[k] = (float)(place - (double)below);
            stretches[k] = in;
            in += step_samples;
            phase += step_phase;
            if (phase >= ratio->out_step) {
                phase -= ratio->out_step;
                in++;
            }
        }
        const rs_f4 values = RS_NAME(rs_block_between)(rows, taps, stretches, weights);
        if (count >= 4) {
            memcpy(out, &values, sizeof values);
        } else {
            for (ptrdiff_t k = 0; k < count; k++) out[k] = values[k];
        }
    }
}

static RS_TARGET void RS_NAME(rs_run)(const rs_ratio_t *ratio, ptrdiff_t channels, const float *in, ptrdiff_t in_stride,
                                      int64_t row, ptrdiff_t count, float *out, ptrdiff_t out_stride) {
    for (ptrdiff_t channel = 0; channel < channels; channel++) {
        const float *const plane = in + channel * in_stride;
        float *const to = out + channel * out_stride;
        if (ratio->positions == NULL) {
            RS_NAME(rs_outputs_between)(ratio, plane, row, count, to);
        } else if (ratio->out_step == 1) {
            RS_NAME(rs_outputs_divided)(ratio, plane, count, to);
        } else if (channel + 1 < channels) { /* two at once: the coefficients are loaded once for both */
            RS_NAME(rs_outputs)(ratio, plane, in_stride, (ptrdiff_t)row, count, to, out_stride, 1);
            channel++;
        } else {
            RS_NAME(rs_outputs)(ratio, plane, in_stride, (ptrdiff_t)row, count, to, out_stride, 0);
        }
    }
}

#undef RS_JOIN2
#undef RS_JOIN
#undef RS_NAME
#undef RS_SUFFIX
#undef RS_TARGET
#undef RS_WIDTH
#undef RS_VEC
#undef RS_ZERO
#undef RS_FMA
#undef RS_LOAD
#undef RS_SUMS
