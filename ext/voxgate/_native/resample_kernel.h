/* The low-pass kernel of the resampler: one function of time, the same for every pair of rates.
 *
 * Time counts in periods of the lower of the two rates, frequency in that rate. The kernel is even, zero outside
 * -23..23, and
 *
 *     k(t) = sum over i of RS_KERNEL[i] * cos(pi * i * t / RS_HALF_PERIODS)
 *
 * so that its spectrum is the sum of sinc functions on a grid of 1/46: the "frequency sampling" design, all samples
 * free. The coefficients solve a linear programme (as in Steiglitz, Parks & Kaiser, "METEOR: a constraint-based FIR
 * filter design program", IEEE Trans. Signal Processing 40, 1992): least weighted stopband peak from 0.55 on (the
 * weight grows with frequency above 1), under the constraints |K(f) - 1| <= 0.002 for f <= 0.45 and k(23) = 0. That
 * gives 0.018 dB of ripple and -105 dB, falling to -115 dB from 1.5 on. A Kaiser window of that length spends its
 * ripple evenly on both bands and gets no further than -74 dB. `python bench/resample_quality.py --design` solves it
 * again; tests/native/test_resample.py holds the numbers to their promise.
 *
 * How a kernel that is a function of time becomes the branches of a polyphase filter: Crochiere & Rabiner, "Multirate
 * Digital Signal Processing", 1983, chapter 3. */
#ifndef VOXGATE_RESAMPLE_KERNEL_H
#define VOXGATE_RESAMPLE_KERNEL_H

#include <math.h>
#include <stddef.h>

#define RS_HALF_PERIODS 23
#define RS_KERNEL_TERMS 33

static const double RS_KERNEL[RS_KERNEL_TERMS] = {
    +2.1695652173913e-02, +4.3473504716220e-02, +4.3545467288516e-02, +4.3393012650960e-02,
    +4.3564879316515e-02, +4.3397596486443e-02, +4.3549925606959e-02, +4.3420837681095e-02,
    +4.3521666878033e-02, +4.3451618020216e-02, +4.3488859782830e-02, +4.3485087694997e-02,
    +4.3455968065697e-02, +4.3516595891222e-02, +4.3427537412839e-02, +4.3541847012525e-02,
    +4.3407305941534e-02, +4.3554846548953e-02, +4.3398682514432e-02, +4.3553779490783e-02,
    +4.3435206341284e-02, +4.2520651249525e-02, +3.0480971157092e-02, +1.0987794176880e-02,
    +1.3392863888812e-03, +1.4607712387994e-05, +1.0600500190574e-08, +2.3051754992500e-07,
    -6.8014834256477e-08, -8.2596194576839e-08, +1.6680818184294e-07, -2.0367041454118e-07,
    +2.0532077256932e-07,
};

/* k(t). The cosines are Chebyshev polynomials of cos(pi t / 23): Clenshaw's recurrence. */
static inline double rs_kernel(double periods) {
    if (periods <= -RS_HALF_PERIODS || periods >= RS_HALF_PERIODS) return 0.0;
    const double x = cos(3.14159265358979323846 / RS_HALF_PERIODS * periods), x2 = 2.0 * x;
    double b1 = 0.0, b2 = 0.0;
    for (int i = RS_KERNEL_TERMS - 1; i > 0; i--) {
        const double b0 = RS_KERNEL[i] + x2 * b1 - b2;
        b2 = b1;
        b1 = b0;
    }
    return RS_KERNEL[0] + x * b1 - b2;
}

/* One branch: the weights of the samples floor(p) + ahead - taps + 1 .. floor(p) + ahead for an output at the position
 * p with p - floor(p) = fraction, in samples. `scale` is the lower rate over the input rate. What lies outside the
 * kernel becomes 0. */
static inline void rs_fill_row(float *row, ptrdiff_t taps, ptrdiff_t ahead, double fraction, double scale) {
    for (ptrdiff_t tap = 0; tap < taps; tap++) {
        const double offset = (double)(ahead - taps + 1 + tap) - fraction;
        row[tap] = (float)(scale * rs_kernel(offset * scale));
    }
}

#endif
