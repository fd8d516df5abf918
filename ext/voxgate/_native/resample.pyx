"""Streaming sample-rate conversion: a linear-phase polyphase filter with a delay of about 3 ms at 8 kHz and half of
that from 16 kHz on.

An output sample at time t is the inner product of the input around t and a low-pass kernel (``resample_kernel.h``: its
design, its source). The kernel is one function of time, stretched to the lower of the two rates, so a ratio costs a
table of its values and no design of its own.

In units of the lower rate the passband ends at 0.45 (ripple 0.02 dB) and the stopband begins at 0.55 (-105 dB;
measured, with everything that folds: better than -100 dB). Hence for 48000 -> 16000: flat to 7.2 kHz, and nothing that
is higher folds into it. In between the response falls, by 12 dB at 8 kHz: what is left of 8..8.8 kHz folds into 7.2..8
kHz, nowhere else. That is the price of the delay; soxr, which has none of it, waits 26 times as long.
"""

import os
import threading
from collections import OrderedDict
from math import gcd

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

cimport numpy as cnp

from .isa cimport resolve
from .types cimport HIGHEST_RATE, LOWEST_RATE

cnp.import_array()

MIN_RATE = LOWEST_RATE
MAX_RATE = HIGHEST_RATE
MAX_CHANNELS = 256

# A table holds one row per phase while that takes no more than this many coefficients (256 KiB: every pair of customary
# rates) ...
cdef Py_ssize_t EXACT_COEFFICIENTS = 65_536
# ... and else this many rows per period of the lower rate, with straight lines in between: the error of that is (0.45 /
# 512)^2, -122 dB.
cdef Py_ssize_t ROWS_PER_PERIOD = 512

# Tables kept for ratios that may come again: at most 32 x 256 KiB.
cdef Py_ssize_t CACHED_TABLES = 32

# Input samples per channel of one pass: the buffer of an idle stream is not much longer than the filter.
cdef Py_ssize_t SLICE_SAMPLES = 1_024

# Multiply-adds from which the GIL is released: some 50 us of work. The release costs 0.05 us without a waiting thread;
# with one, that thread may keep the GIL for a switch interval (5 ms). 20 ms of live audio need 0.05 million; a second
# needs more than the limit.
cdef int64_t NOGIL_WORK = 1_500_000

_tables = OrderedDict()
_tables_lock = threading.Lock()


def _renew_lock() -> None:
    """In a forked child: a thread that held the lock does not exist there and would never release it."""
    global _tables_lock
    _tables_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def kernel_coefficients() -> tuple[float, ...]:
    """c of the low-pass kernel k(t) = sum of c[i] cos(pi i t / 23), with t in periods of the lower rate, -23..23."""
    return tuple([RS_KERNEL[i] for i in range(RS_KERNEL_TERMS)])


def table_info(Py_ssize_t from_rate, Py_ssize_t to_rate) -> dict[str, int]:
    """What the table of a ratio of two different rates is made of: ``rows``, ``phases`` (more than rows: interpolated),
    ``taps``, ``ahead``, ``nbytes``. Builds it if need be.
    """
    _check_rate("from_rate", from_rate)
    _check_rate("to_rate", to_rate)
    if from_rate == to_rate:
        raise ValueError(f"equal rates need no table, got {from_rate} and {to_rate}")
    cdef _Table table = _table_for(<int>from_rate, <int>to_rate)
    return {
        "rows": table.ratio.n_rows,
        "phases": table.ratio.out_step,
        "taps": table.ratio.taps,
        "ahead": table.ahead,
        "nbytes": table.nbytes,
    }


def clear_tables() -> None:
    """Forget the cached tables. Resamplers that use one keep it. For measurements."""
    with _tables_lock:
        _tables.clear()


cdef class _Table:
    def __cinit__(self, int64_t in_step, int64_t out_step) -> None:
        """The two rates in lowest terms; not equal."""
        cdef int64_t lower = min(in_step, out_step)
        cdef double scale = <double>lower / <double>in_step
        # The reach of the kernel in input samples is half / out_step. Of an output at n + fraction the samples n + j
        # count with |j - fraction| < reach; the largest fraction is (out_step - 1) / out_step, or 1 for the last row of
        # an interpolated table.
        cdef int64_t half = RS_HALF_PERIODS * max(in_step, out_step)
        cdef int64_t behind = _ceil_div(half, out_step) - 1
        cdef int64_t ahead = _ceil_div(half + out_step - 1, out_step) - 1
        cdef int64_t taps = _round_up(behind + 1 + ahead)
        cdef int64_t n_rows = out_step, built_rows = out_step + 3, row
        cdef bint exact = out_step * taps <= EXACT_COEFFICIENTS
        cdef double fraction
        if not exact:
            n_rows = _ceil_div(ROWS_PER_PERIOD * lower, in_step)
            built_rows = n_rows + 1
            ahead = _ceil_div(half + out_step, out_step) - 1
            taps = _round_up(behind + 1 + ahead)

        self.nbytes = built_rows * taps * sizeof(float) + 64
        self._memory = malloc(self.nbytes)
        if exact:
            self._positions = <int32_t *>malloc(built_rows * sizeof(int32_t))
        if self._memory == NULL or (exact and self._positions == NULL):
            raise MemoryError(f"no memory for a resampling table of {self.nbytes} bytes")
        cdef float *rows = <float *>((<size_t>self._memory + 63) // 64 * 64)
        with nogil:
            for row in range(built_rows):
                if exact:
                    self._positions[row] = <int32_t>(row * in_step // out_step)
                    fraction = <double>(row * in_step % out_step) / <double>out_step
                else:
                    fraction = <double>row / <double>n_rows
                rs_fill_row(rows + row * taps, taps, ahead, fraction, scale)

        self.ahead = ahead
        self.ratio.in_step = in_step
        self.ratio.out_step = out_step
        self.ratio.rows = rows
        self.ratio.taps = taps
        self.ratio.n_rows = n_rows
        self.ratio.positions = self._positions

    def __dealloc__(self) -> None:
        free(self._memory)
        free(self._positions)

    def __reduce__(self):
        raise TypeError("a resampling table is not pickled; it is cheaper to build")


cdef inline int64_t _ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t _round_up(int64_t taps) noexcept nogil:
    """To whole vectors of the widest instruction set: one table serves them all."""
    return (taps + 15) // 16 * 16


cdef _Table _table_for(int from_rate, int to_rate):
    cdef int divisor = gcd(from_rate, to_rate)
    key = (from_rate // divisor, to_rate // divisor)
    with _tables_lock:
        table = _tables.get(key)
        if table is None:
            table = _tables[key] = _Table(key[0], key[1])
            if len(_tables) > CACHED_TABLES:
                _tables.popitem(last=False)
        else:
            _tables.move_to_end(key)
    return table


cdef int _check_rate(str name, Py_ssize_t rate) except -1:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{name} must be within {MIN_RATE}..{MAX_RATE} Hz, got {rate}")
    return 0


cdef class Resampler:
    """Converts a stream of ``channels`` planes from ``from_rate`` to ``to_rate`` (Hz, 4000..192000, any ratio).

    Output sample m belongs to the time m / to_rate of the input: nothing is shifted. It is given out as soon as the
    input reaches ``delay_s`` past it. How the input is cut into pushes does not change one bit of the output. Values
    are not clipped: the result of a full-scale input may overshoot by what its own waveform between samples does. Equal
    rates: a copy, no delay.

    ``isa``: which kernels to use, of ``voxgate._native.isa.supported()``; None for the process-wide choice. Results of
    different instruction sets differ in rounding (about 1e-7).

    Attributes: ``from_rate``, ``to_rate``, ``channels`` (1..256).
    Errors: ValueError for a rate, a number of channels or an isa out of range.
    Threads: one caller at a time (RuntimeError when a second one is noticed); any number of resamplers on any number of
    threads. The GIL is released for pushes that take longer than about 50 us.
    Memory: the taps of the filter and 1024 samples per channel (4.7 KiB from 48000 to 16000); the table (12..256 KiB)
    is shared between the resamplers of a ratio.
    """

    def __cinit__(self, Py_ssize_t from_rate, Py_ssize_t to_rate, Py_ssize_t channels=1, *, isa=None) -> None:
        _check_rate("from_rate", from_rate)
        _check_rate("to_rate", to_rate)
        if not 1 <= channels <= MAX_CHANNELS:
            raise ValueError(f"channels must be within 1..{MAX_CHANNELS}, got {channels}")
        self._run = rs_run_for(resolve(isa))
        cdef int divisor = gcd(from_rate, to_rate)
        self.from_rate = <int>from_rate
        self.to_rate = <int>to_rate
        self.channels = channels
        self._in_step = from_rate // divisor
        self._out_step = to_rate // divisor
        if from_rate != to_rate:
            self._table = _table_for(self.from_rate, self.to_rate)
            self._capacity = self._table.ratio.taps + SLICE_SAMPLES
            self._stride = self._capacity + RS_SPARE_OUTPUTS * (self._in_step // self._out_step + 1)
            self._buffer = <sample_t *>calloc(channels * self._stride, sizeof(sample_t))
            if self._buffer == NULL:
                raise MemoryError(f"no memory for {channels} x {self._stride} samples")
        self._restart()

    def __dealloc__(self) -> None:
        free(self._buffer)

    def __reduce__(self):
        raise TypeError("a Resampler belongs to one stream and cannot be pickled or copied")

    def push(self, planes):
        """The output that became ready with these samples.

        ``planes``: float32, shape (channels, n), any n, any memory layout; read, not kept. Returns a new float32 array,
        shape (channels, m), C-contiguous; m may be 0. ValueError for another shape, TypeError for another type or
        dtype.
        """
        if not cnp.PyArray_Check(planes):
            raise TypeError(f"planes must be a float32 array, got {type(planes).__name__}")
        cdef cnp.ndarray array = planes
        if cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT32:
            raise TypeError(f"planes must be float32, got {planes.dtype}")
        if cnp.PyArray_NDIM(array) != 2 or cnp.PyArray_DIM(array, 0) != self.channels:
            raise ValueError(f"planes must have shape ({self.channels}, n), got {planes.shape}")
        cdef Py_ssize_t n_samples = cnp.PyArray_DIM(array, 1)
        if not cnp.PyArray_ISBEHAVED_RO(array) or (n_samples > 1 and cnp.PyArray_STRIDE(array, 1) != sizeof(sample_t)):
            array = cnp.PyArray_FROMANY(
                planes, cnp.NPY_FLOAT32, 2, 2, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_NOTSWAPPED
            )
        self._check_idle()
        return self._advance(
            <const char *>cnp.PyArray_DATA(array), cnp.PyArray_STRIDE(array, 0), n_samples,
            self.n_ready(n_samples),
        )

    def finish(self):
        """The rest of the stream, as if silence followed: float32, shape (channels, m). With it the stream has exactly
        floor(consumed * to_rate / from_rate + 1/2) output samples. Afterwards the object is as new.
        """
        self._check_idle()
        # In lowest terms and by remainder, so that nothing overflows within the range of pos_t that a stream can reach.
        cdef pos_t whole = self._consumed // self._in_step, rest = self._consumed % self._in_step
        cdef pos_t total = whole * self._out_step + (2 * rest * self._out_step + self._in_step) // (2 * self._in_step)
        tail = self._advance(NULL, 0, 0 if self._table is None else self._table.ahead, total - self._produced)
        self._restart()
        return tail

    def reset(self) -> None:
        """Forget the stream; the next push begins a new one."""
        self._check_idle()
        self._restart()

    @property
    def delay_s(self) -> float:
        """The longest time from the arrival of an input sample until the output of its time leaves, in seconds."""
        return 0.0 if self._table is None else <double>self._table.ahead / self.from_rate

    @property
    def consumed(self) -> int:
        """Input samples per channel since the stream began."""
        return self._consumed

    @property
    def produced(self) -> int:
        """Output samples per channel since the stream began."""
        return self._produced

    @property
    def nbytes(self) -> int:
        """Bytes of this object's own buffers; the shared table is not counted."""
        return self.channels * self._stride * sizeof(sample_t)

    cdef int _check_idle(self) except -1:
        if self._busy:
            raise RuntimeError("this Resampler is working on another thread")
        return 0

    cdef void _restart(self) noexcept nogil:
        cdef Py_ssize_t channel
        self._consumed = self._produced = 0
        self._row = self._first = self._filled = 0
        if self._buffer != NULL:
            # Silence before the stream: output 0 lies on input 0.
            self._filled = self._table.ratio.taps - 1 - self._table.ahead
            for channel in range(self.channels):
                memset(self._buffer + channel * self._stride, 0, self._filled * sizeof(sample_t))

    cdef pos_t _ready(self, pos_t consumed) noexcept nogil:
        """Outputs the first `consumed` inputs suffice for: all m with floor(m * in / out) + ahead < consumed."""
        if self._buffer == NULL:
            return consumed
        cdef pos_t reached = consumed - self._table.ahead
        if reached <= 0:
            return 0
        cdef pos_t whole = reached // self._in_step, rest = reached % self._in_step
        return whole * self._out_step + _ceil_div(rest * self._out_step, self._in_step)

    cdef pos_t n_ready(self, Py_ssize_t n_samples) noexcept:
        return self._ready(self._consumed + n_samples) - self._produced

    cdef int resample(self, const sample_t *planes, Py_ssize_t stride, Py_ssize_t n_samples, sample_t *out,
                      pos_t n_out) except -1:
        self._check_idle()
        self._feed(<const char *>planes, stride * sizeof(sample_t), n_samples, out, n_out, n_out)
        self._consumed += n_samples
        self._produced += n_out
        return 0

    cdef object _new_planes(self, Py_ssize_t n_samples):
        cdef cnp.npy_intp[2] shape
        shape[0] = self.channels
        shape[1] = n_samples
        return cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT32, 0)

    cdef object _advance(self, const char *planes, Py_ssize_t plane_bytes, Py_ssize_t n_samples, pos_t n_out):
        """Take `n_samples` of every channel (silence when `planes` is NULL) and give the next `n_out` outputs."""
        cdef cnp.ndarray result = self._new_planes(n_out)
        cdef sample_t *out = <sample_t *>cnp.PyArray_DATA(result)
        if self._buffer != NULL and self.channels * n_out * self._table.ratio.taps >= NOGIL_WORK:
            self._busy = True
            with nogil:
                self._feed(planes, plane_bytes, n_samples, out, n_out, n_out)
            self._busy = False
        else:
            self._feed(planes, plane_bytes, n_samples, out, n_out, n_out)
        self._consumed += n_samples
        self._produced += n_out
        return result

    cdef void _feed(self, const char *planes, Py_ssize_t plane_bytes, Py_ssize_t n_samples,
                    sample_t *out, Py_ssize_t out_stride, Py_ssize_t n_out) noexcept nogil:
        cdef Py_ssize_t channel, taken = 0, size, count, used, kept
        cdef sample_t *plane
        cdef const rs_ratio_t *ratio
        cdef int64_t reached, phase
        if self._buffer == NULL:
            for channel in range(self.channels if n_samples else 0):
                memcpy(out + channel * out_stride, planes + channel * plane_bytes, n_samples * sizeof(sample_t))
            return
        ratio = &self._table.ratio
        while taken < n_samples and not (planes == NULL and n_out == 0):
            size = min(self._capacity - self._filled, n_samples - taken)
            for channel in range(self.channels):
                plane = self._buffer + channel * self._stride + self._filled
                if planes == NULL:
                    memset(plane, 0, size * sizeof(sample_t))
                else:
                    memcpy(plane, planes + channel * plane_bytes + taken * sizeof(sample_t), size * sizeof(sample_t))
            self._filled += size
            taken += size

            # Outputs whose stretch ends inside the buffer: those k with first + floor((phase + k * in_step) / out_step)
            # <= filled - taps.
            reached = self._filled - ratio.taps - self._first + 1
            if reached > 0 and n_out > 0:
                phase = self._row * self._in_step % self._out_step
                count = min(_ceil_div(reached * self._out_step - phase, self._in_step), n_out)
                self._run(ratio, self.channels, self._buffer + self._first, self._stride, self._row, count,
                          out, out_stride)
                out += count
                n_out -= count
                self._first += (phase + count * self._in_step) // self._out_step
                self._row = (self._row + count) % self._out_step

            used = min(self._first, self._filled)
            kept = self._filled - used
            for channel in range(self.channels):
                plane = self._buffer + channel * self._stride
                memmove(plane, plane + used, kept * sizeof(sample_t))
            self._filled = kept
            self._first -= used
