/* Products of packed weights and columns, for one instruction set: a template, included after vecmath.h.
 *
 * The includer also defines VG_PANEL_VECTORS (vectors of outputs that a tile computes) and VG_TILE_COLUMNS (columns of
 * inputs it takes at most): together they must leave registers free for the weights and the broadcast, or the compiler
 * spills and all is lost. */

enum { V(panel) = VG_PANEL_VECTORS * VG_LANES };

/* n_panels tiles side by side: y[c][0..n_panels * panel) += w[i][...] * x[c][i], over i < n, for n_cols columns.
 * n_cols, n_panels and kind are constants in every call. Of shorts, w[i] and x[c][i] are pairs, and a sum of integers
 * is scaled by row_scale[out] * x_scale[c] at the end. Few columns take several panels at once, so as not to wait for
 * the latency of their own additions. Every output is one sum in the order of its inputs, whatever the shape of the
 * tile: a channel's result does not depend, to the last bit, on how many others it is computed with.
 *
 * The sums must live in registers: every index is a literal, written out by the preprocessor, since no compiler is
 * sure to unroll the loops before it decides what stays in memory. */
#define VG_VECTORS(M, p, c) M(p, c, 0) M(p, c, 1) M(p, c, 2) M(p, c, 3)
#define VG_COLUMNS(M, p) M(p, 0) M(p, 1) M(p, 2) M(p, 3) M(p, 4) M(p, 5) M(p, 6) M(p, 7)
#define VG_PANELS(M) M(0) M(1) M(2) M(3)

#define VG_PLACE(p, c, v) (y[c] + out + p * V(panel) + v * VG_LANES)
#define VG_BEGIN_VECTOR(p, c, v) \
    if (v < VG_PANEL_VECTORS) sum[p][c][v] = kind == VG_KIND_SHORT ? V(set1)(0.0f) : V(load)(VG_PLACE(p, c, v));
#define VG_BEGIN_COLUMN(p, c) \
    if (c < n_cols) { column[c] = (const vg_silero_bits_t *)x[c]; VG_VECTORS(VG_BEGIN_VECTOR, p, c) }
#define VG_BEGIN(p) if (p < n_panels) { VG_COLUMNS(VG_BEGIN_COLUMN, p) }

#define VG_WEIGHT(p, c, v) if (v < VG_PANEL_VECTORS) weight[v] = V(weights)(w, kind, p * V(panel) + v * VG_LANES);
#define VG_STEP_VECTOR(p, c, v) if (v < VG_PANEL_VECTORS) sum[p][c][v] = V(step)(weight[v], value, sum[p][c][v], kind);
#define VG_STEP_COLUMN(p, c) \
    if (c < n_cols) { const V(vec) value = V(set1)(column[c][i]); VG_VECTORS(VG_STEP_VECTOR, p, c) }
#define VG_STEP(p) if (p < n_panels) { V(vec) weight[4]; VG_VECTORS(VG_WEIGHT, p, 0) VG_COLUMNS(VG_STEP_COLUMN, p) }

#define VG_END_VECTOR(p, c, v) \
    if (v < VG_PANEL_VECTORS) { \
        if (kind == VG_KIND_SHORT) \
            sum[p][c][v] = V(scaled)( \
                sum[p][c][v], V(load)(row_scale + out + p * V(panel) + v * VG_LANES), x_scale[c], \
                V(load)(VG_PLACE(p, c, v)) \
            ); \
        V(store)(VG_PLACE(p, c, v), sum[p][c][v]); \
    }
#define VG_END_COLUMN(p, c) if (c < n_cols) { VG_VECTORS(VG_END_VECTOR, p, c) }
#define VG_END(p) if (p < n_panels) { VG_COLUMNS(VG_END_COLUMN, p) }

VG_INLINE V(vec) V(weights)(const char *w, const int kind, ptrdiff_t at) {
#if VG_ISA != VG_ISA_PORTABLE
    if (kind == VG_KIND_HALF) return V(load_half)((const uint16_t *)w + at);
#endif
    return V(load)((const float *)w + at);
}

/* One step of a sum. The vectors of pairs of shorts, and their sums, travel as vectors of float: bits are bits. */
VG_INLINE V(vec) V(step)(V(vec) weight, V(vec) value, V(vec) sum, const int kind) {
#if VG_SHORTS
    if (kind == VG_KIND_SHORT) return (V(vec))V(dot)((V(ivec))weight, (V(ivec))value, (V(ivec))sum);
#endif
    return V(fma)(weight, value, sum);
}

VG_INLINE V(vec) V(scaled)(V(vec) sum, V(vec) row_scale, float x_scale, V(vec) before) {
#if VG_SHORTS
    return V(fma)(V(to_float)((V(ivec))sum), row_scale * V(set1)(x_scale), before);
#else
    return before;
#endif
}

/* Sums of shorts need a register for the product, and wait less for their own additions. */
VG_INLINE int V(tile_columns)(const int kind) {
    return VG_LANES < 16 && kind == VG_KIND_SHORT ? 4 : VG_TILE_COLUMNS;
}

VG_INLINE ptrdiff_t V(bytes)(const int kind) { return kind == VG_KIND_HALF ? 2 : 4; }

VG_INLINE void V(tile)(
    const int n_cols, const int n_panels, const int kind, const char *w, ptrdiff_t row, ptrdiff_t n,
    const float *const *x, float *const *y, ptrdiff_t out, const float *row_scale, const float *x_scale
) {
    V(vec) sum[4][8][4];
    const vg_silero_bits_t *column[8];
    VG_PANELS(VG_BEGIN)
    for (ptrdiff_t i = 0; i < n; i++, w += row) {
        /* Few columns wait for the weights, and the processor's own prefetching does not run far enough ahead of them.
         * Past the end is harmless. */
        if (n_cols < V(tile_columns)(kind))
            for (int line = 0; line < n_panels * V(panel) * V(bytes)(kind); line += 64)
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
    const int n_cols, const int n_panels, const int group, const int kind, const char *w, ptrdiff_t n,
    const float *const *x, float *const *y, ptrdiff_t out, const float *row_scale, const float *x_scale
) {
    const ptrdiff_t bytes = V(bytes)(kind);
    for (int at = 0; at < group; at += n_panels * V(panel))
        V(tile)(n_cols, n_panels, kind, w + at * bytes, group * bytes, n, x, y, out + at, row_scale, x_scale);
}

/* y[c][0..n_out) += W x[c] for all columns. W is packed in groups of outputs, [group][input][output in the group]: one
 * column alone reads it from front to back, and many columns meet a group while it lies in the first cache. */
VG_INLINE void V(product_of)(
    const int group, const int kind, const char *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols,
    const float *const *x, float *const *y, const float *row_scale, const float *x_scale
) {
    for (ptrdiff_t out = 0; out < n_out; out += group, w += n * group * V(bytes)(kind)) {
        int c = 0;
        for (; c + V(tile_columns)(kind) <= n_cols; c += V(tile_columns)(kind))
            V(columns)(V(tile_columns)(kind), 1, group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c);
        switch (n_cols - c) {
        case 1: V(columns)(1, VG_PANELS_FOR_1(group), group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c); break;
        case 2: V(columns)(2, VG_PANELS_FOR_2, group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c); break;
        case 3: V(columns)(3, VG_PANELS_FOR_3, group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c); break;
#if VG_TILE_COLUMNS > 4
        case 4: V(columns)(4, VG_PANELS_FOR_4, group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c); break;
        case 5: V(columns)(5, 1, group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c); break;
#endif
#if VG_TILE_COLUMNS > 6
        case 6: V(columns)(6, 1, group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c); break;
        case 7: V(columns)(7, 1, group, kind, w, n, x + c, y + c, out, row_scale, x_scale + c); break;
#endif
        default: break;
        }
    }
}

VG_TARGET static __attribute__((noinline)) void V(product)(
    const float *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols, const float *const *x, float *const *y
) {
    V(product_of)(vg_silero_gates_group(VG_ISA), VG_KIND_FLOAT, (const char *)w, n, n_out, n_cols, x, y, NULL, NULL);
}

/* The same for a convolution, whose weights may be half floats. */
VG_TARGET static __attribute__((noinline)) void V(convolution)(
    const vg_silero_net_t *net, const void *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols,
    const float *const *x, float *const *y
) {
#if VG_ISA != VG_ISA_PORTABLE
    if (net->half) {
        V(product_of)(VG_CONV_GROUP, VG_KIND_HALF, (const char *)w, n, n_out, n_cols, x, y, NULL, NULL);
        return;
    }
#endif
    V(product_of)(VG_CONV_GROUP, VG_KIND_FLOAT, (const char *)w, n, n_out, n_cols, x, y, NULL, NULL);
}

#if VG_SHORTS
/* `product` and `convolution` for n pairs of shorts. */
VG_TARGET static __attribute__((noinline)) void V(product_of_shorts)(
    const vg_silero_shorts_t *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols, const float *const *x, const float *x_scale,
    float *const *y
) {
    V(product_of)(
        vg_silero_gates_group(VG_ISA), VG_KIND_SHORT, (const char *)w->rows, n, n_out, n_cols, x, y, w->scale, x_scale
    );
}

VG_TARGET static __attribute__((noinline)) void V(convolution_of_shorts)(
    const vg_silero_shorts_t *w, ptrdiff_t n, ptrdiff_t n_out, int n_cols, const float *const *x, const float *x_scale,
    float *const *y
) {
    V(product_of)(VG_CONV_GROUP, VG_KIND_SHORT, (const char *)w->rows, n, n_out, n_cols, x, y, w->scale, x_scale);
}

/* n numbers (a multiple of VG_LANES) from 0 on as shorts up to VG_SHORT_TOP. Returns what a one stands for. NaN becomes
 * any short. */
VG_TARGET static float V(shorten)(const float *x, ptrdiff_t n, int16_t *out) {
    V(vec) most = V(set1)(VG_SHORT_LEAST);
    for (ptrdiff_t i = 0; i < n; i += VG_LANES) most = V(max)(V(load)(x + i), most);
    const float largest = V(largest)(most);
    const V(vec) scale = V(set1)(VG_SHORT_TOP / largest);
    for (ptrdiff_t i = 0; i < n; i += VG_LANES) V(to_shorts)(out + i, V(load)(x + i) * scale);
    return largest / VG_SHORT_TOP;
}
#endif
