from libc.stdint cimport int32_t, int64_t

from .types cimport pos_t, sample_t


cdef extern from "resample_isa.h" nogil:
    ctypedef struct rs_ratio_t:
        int64_t in_step
        int64_t out_step
        const float *rows
        ptrdiff_t taps
        int64_t n_rows
        const int32_t *positions

    ctypedef void (*rs_run_t)(const rs_ratio_t *ratio, ptrdiff_t channels, const float *planes, ptrdiff_t in_stride,
                              int64_t row, ptrdiff_t count, float *out, ptrdiff_t out_stride) noexcept nogil

    int RS_SPARE_OUTPUTS
    rs_run_t rs_run_for(int isa)


cdef extern from "resample_kernel.h" nogil:
    int RS_HALF_PERIODS
    int RS_KERNEL_TERMS
    const double RS_KERNEL[]
    void rs_fill_row(float *row, ptrdiff_t taps, ptrdiff_t ahead, double fraction, double scale)


# The coefficients of one ratio, read-only once built and shared between the resamplers of that ratio.
cdef class _Table:
    cdef rs_ratio_t ratio
    cdef Py_ssize_t ahead              # input samples an output needs after the one at or before its position
    cdef Py_ssize_t nbytes
    cdef void *_memory
    cdef int32_t *_positions


cdef class Resampler:
    cdef readonly int from_rate
    cdef readonly int to_rate
    cdef readonly Py_ssize_t channels
    cdef _Table _table                 # None when the rates are equal
    cdef rs_run_t _run
    cdef int64_t _in_step              # from_rate and to_rate in lowest terms
    cdef int64_t _out_step
    cdef sample_t *_buffer             # of every channel: what later outputs still need, then the slice at work
    cdef Py_ssize_t _capacity          # of every channel; the buffer has room for ...
    cdef Py_ssize_t _stride            # ... so many: the kernels read on past the end
    cdef Py_ssize_t _filled            # of every channel
    cdef Py_ssize_t _first             # index in the buffer of the next output's stretch; may lie beyond _filled
    cdef int64_t _row                  # and its number modulo _out_step
    cdef pos_t _consumed
    cdef pos_t _produced
    cdef bint _busy                    # a call works without the GIL

    cdef int _check_idle(self) except -1
    cdef void _restart(self) noexcept nogil
    cdef pos_t _ready(self, pos_t consumed) noexcept nogil
    # Outputs that so many samples more suffice for; and these, from and into planes of a stride in samples each.
    cdef pos_t n_ready(self, Py_ssize_t n_samples) noexcept
    cdef int resample(self, const sample_t *planes, Py_ssize_t stride, Py_ssize_t n_samples, sample_t *out,
                      pos_t n_out) except -1
    cdef object _new_planes(self, Py_ssize_t n_samples)
    cdef void _feed(self, const char *planes, Py_ssize_t plane_bytes, Py_ssize_t n_samples,
                    sample_t *out, Py_ssize_t out_stride, Py_ssize_t n_out) noexcept nogil
    cdef object _advance(self, const char *planes, Py_ssize_t plane_bytes, Py_ssize_t n_samples, pos_t n_out)
