"""The Silero voice-activity network as a kernel of its own: weights shared by all, 1280 bytes of state per channel.

The mathematics is in silero_kernel.h (one text for all instruction sets), the packing of the weights here.
"""

from libc.string cimport memset

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free

import numpy as np

from . cimport isa as isa_module

cimport numpy as cnp

cnp.import_array()

_SHAPES = {
    "stft.basis": (258, 256),
    "conv0.weight": (128, 129, 3),
    "conv0.bias": (128,),
    "conv1.weight": (64, 128, 3),
    "conv1.bias": (64,),
    "conv2.weight": (64, 64, 3),
    "conv2.bias": (64,),
    "conv3.weight": (128, 64, 3),
    "conv3.bias": (128,),
    "lstm.weight_ih": (512, 128),
    "lstm.weight_hh": (512, 128),
    "lstm.bias_ih": (512,),
    "lstm.bias_hh": (512,),
    "out.weight": (128,),
    "out.bias": (),
}
# Far from where sizes overflow.
cdef Py_ssize_t MAX_CHANNELS = 65_536

# A basis stored as float16 is 2.4e-4 away from the true one.
_BASIS_TOLERANCE = 1e-3


def _pack(matrix, Py_ssize_t group, dtype=np.float32):
    """(outputs, inputs) -> [group][input][output in the group], flat."""
    n_out, n_in = matrix.shape
    return matrix.astype(dtype).reshape(n_out // group, group, n_in).transpose(0, 2, 1).ravel()


def _pack_shorts(matrix, Py_ssize_t group, bint signed):
    """(outputs, inputs) -> the first 64 inputs and the rest, each as int16 [group][pair of inputs][output in the
    group][2], flat, and the scale of each output.

    As fine as sums of 32 bits allow: no inputs up to VG_SHORT_TOP, from 0 on or of any sign (`signed`), leave them.
    """
    n_out, n_in = matrix.shape
    matrix = np.pad(matrix.astype(np.float64), ((0, 0), (0, n_in % 2)))
    parts = []
    for half in (matrix[:, :64], matrix[:, 64:]):
        up, down = np.maximum(half, 0).sum(1), np.maximum(-half, 0).sum(1)
        most = up + down if signed else np.maximum(up, down)
        room = (2**31 - 1) / VG_SHORT_TOP - half.shape[1]  # rounding adds half a one of each input at most
        scale = np.maximum(most / room, np.abs(half).max(1) / 32767)
        scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
        shorts = np.rint(half / scale[:, None]).astype(np.int16)
        parts += [shorts.reshape(n_out // group, group, -1, 2).transpose(0, 2, 1, 3).ravel(), scale]
    return parts


def _precisions(int number):
    return ("int16", "float32") if vg_has_shorts(number) else ("float32",)


def precisions(isa=None) -> tuple[str, ...]:
    """The arithmetic that the kernels of ``isa`` have, the fastest first: "int16", "float32"."""
    return _precisions(isa_module.resolve(isa))


def _precision(precision, int number):
    known = _precisions(number)
    if precision is None:
        return known[0]
    if precision not in known:
        raise ValueError(
            f"precision must be one of {', '.join(known)} with {isa_module.vg_isa_names[number].decode()}, "
            f"got {precision!r}"
        )
    return precision


def _fits_half(array):
    """Whether float16 holds every value exactly, as in files that store the convolutions so."""
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float16).astype(np.float32) == array).all())


def _checked(weights):
    arrays = {}
    for name, shape in _SHAPES.items():
        if name not in weights:
            raise ValueError(f"weights must hold {name}, shape {shape}; it is missing")
        array = np.asarray(weights[name], dtype=np.float32, order="C")
        if array.shape != shape:
            raise ValueError(f"weights[{name!r}] must have shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"weights[{name!r}] must be finite, got NaN or infinity")
        arrays[name] = array
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    angles = 2 * np.pi * np.arange(129)[:, None] * np.arange(256) / 256
    basis = np.concatenate([window * np.cos(angles), -window * np.sin(angles)])
    error = float(np.abs(arrays["stft.basis"] - basis).max())
    if error > _BASIS_TOLERANCE:
        raise ValueError(
            f"weights['stft.basis'] must be a Hann-windowed Fourier basis within {_BASIS_TOLERANCE}, "
            f"got one that is {error:.3g} away"
        )
    return arrays


@cython.final
cdef class SileroNetwork:
    """The weights of the network, re-laid once for one instruction set.

    Immutable: share one between all detectors and threads.

    ``weights``: every tensor of :data:`voxgate.vad.weights.SHAPES`, float32, finite; copied. ValueError says what is
    missing or of a wrong shape. The basis of the spectrum must be the Hann-windowed Fourier basis the network was
    trained with: it is computed, not multiplied. ``isa``: one of ``isa.supported()``, None for the active one;
    ValueError otherwise.

    ``precision``: one of ``precisions(isa)``; None for the first. "int16" computes the first convolution and
    the gates of the LSTM with 16-bit integers: fewer than one frame in 10 000 decides otherwise than in "float32"
    (docs/decisions/0049-sixteen-bit-products.md). ValueError for one that ``isa`` lacks.

    Attributes: ``isa``; ``precision``; ``nbytes``, the size of the packed weights; ``half``, True when the
    convolutions that stay floating-point are kept as float16 because that loses nothing.
    """

    def __cinit__(self, weights, isa=None, precision=None):
        cdef int number = isa_module.resolve(isa)
        cdef Py_ssize_t gates_group = vg_silero_gates_group(number)
        cdef int tap, half, of
        self.precision = _precision(precision, number)
        cdef bint shorts = self.precision == "int16"
        arrays = _checked(weights)
        self.half = vg_has_half(number) and all(
            _fits_half(arrays[f"conv{layer}.weight"]) for layer in range(1 if shorts else 0, 4)
        )
        conv_dtype = np.float16 if self.half else np.float32
        nothing = np.empty(0, np.float32)
        turns = 2 * np.pi * np.outer(np.arange(16), np.arange(16)) / 256
        parts = [
            (0.25 - 0.25 * np.cos(2 * np.pi * np.arange(256) / 256)).astype(np.float32),  # half a Hann window
            np.cos(turns).astype(np.float32).ravel(),
            np.sin(turns).astype(np.float32).ravel(),
        ]
        for layer in range(4):
            parts.append(arrays[f"conv{layer}.bias"])
            for tap in range(3):
                parts.append(
                    nothing
                    if shorts and layer == 0
                    else _pack(arrays[f"conv{layer}.weight"][:, :, tap], VG_CONV_GROUP, conv_dtype)
                )
        parts.append(arrays["lstm.bias_ih"] + arrays["lstm.bias_hh"])
        for name in ("lstm.weight_ih", "lstm.weight_hh"):
            parts.append(nothing if shorts else _pack(arrays[name], gates_group))
        parts.append(arrays["out.weight"])
        if shorts:
            for tap in range(3):
                parts.extend(_pack_shorts(arrays["conv0.weight"][:, :, tap], VG_CONV_GROUP, False))
            parts.extend(_pack_shorts(arrays["lstm.weight_ih"], gates_group, False))
            parts.extend(_pack_shorts(arrays["lstm.weight_hh"], gates_group, True))

        # One block, every part on 64-byte lines of its own.
        starts, size = [], 0
        for part in parts:
            starts.append(size)
            size += -(-part.nbytes // 64) * 64
        block = np.zeros(size + 64, dtype=np.uint8)
        packed = block[-block.ctypes.data % 64 :][:size]
        for start, part in zip(starts, parts, strict=True):
            packed[start : start + part.nbytes] = part.view(np.uint8)
        block.flags.writeable = False
        self._packed = block
        self.nbytes = size

        cdef size_t address = <size_t>cnp.PyArray_DATA(<cnp.ndarray>packed)
        cdef list addresses = [address + start for start in starts]
        cdef int conv
        self.net.window = <const float *><size_t>addresses[0]
        self.net.cosines = <const float *><size_t>addresses[1]
        self.net.sines = <const float *><size_t>addresses[2]
        for conv in range(4):
            self.net.conv_bias[conv] = <const float *><size_t>addresses[3 + 4 * conv]
            for tap in range(3):
                self.net.conv[conv][tap] = <const void *><size_t>addresses[4 + 4 * conv + tap]
        self.net.gate_bias = <const float *><size_t>addresses[19]
        self.net.gates_input = <const float *><size_t>addresses[20]
        self.net.gates_hidden = <const float *><size_t>addresses[21]
        self.net.out_weight = <const float *><size_t>addresses[22]
        self.net.out_bias = arrays["out.bias"]
        self.net.half = self.half
        self.net.shorts = shorts
        if shorts:
            for tap in range(3):
                for half in range(2):
                    self.net.short_conv[tap][half].rows = <const short *><size_t>addresses[23 + 4 * tap + 2 * half]
                    self.net.short_conv[tap][half].scale = <const float *><size_t>addresses[24 + 4 * tap + 2 * half]
            for of in range(2):
                for half in range(2):
                    self.net.short_gates[of][half].rows = <const short *><size_t>addresses[35 + 4 * of + 2 * half]
                    self.net.short_gates[of][half].scale = <const float *><size_t>addresses[36 + 4 * of + 2 * half]
        self.function = vg_silero_function(number)
        self.isa = isa_module.vg_isa_names[number].decode()

    def __reduce__(self):
        raise TypeError("a SileroNetwork is laid out for this machine and cannot be pickled or copied; share it")


@cython.final
cdef class SileroDetector(Detector):
    """Silero VAD v6 over `channels` independent streams: 512 samples at 16 kHz of each -> one probability each.

    The channels share one pass through the weights: 16 of them cost two thirds of 16 detectors. A channel's
    probabilities do not depend, to the last bit, on the channels beside it. State per channel: the LSTM's hidden and
    cell vector and 64 samples, 1280 bytes. A frame holding NaN or infinity scores 0 and its channel starts anew;
    denormals count as zero. ``channels``: 1..65536; ValueError outside.

    Threads: one caller at a time; detectors sharing a network may run on several threads at once. Work areas are on the
    stack of the caller (110 KB).
    """

    def __cinit__(self, SileroNetwork network not None, Py_ssize_t channels=1):
        cdef Py_ssize_t channel, head
        cdef vg_silero_state_t *state
        if not 1 <= channels <= MAX_CHANNELS:
            raise ValueError(f"channels must be 1..{MAX_CHANNELS}, got {channels}")
        self.frame_samples = VG_SILERO_FRAME
        self.sample_rate = 16000
        self.channels = channels
        self.network = network
        # Pointers, then states on 64-byte lines.
        head = channels * sizeof(vg_silero_state_t *)
        self._memory = PyMem_Calloc(1, head + channels * sizeof(vg_silero_state_t) + 63)
        if self._memory == NULL:
            raise MemoryError
        self.states = <vg_silero_state_t **>self._memory
        state = <vg_silero_state_t *>((<size_t>self._memory + head + 63) & ~<size_t>63)
        for channel in range(channels):
            self.states[channel] = state + channel

    def __dealloc__(self):
        PyMem_Free(self._memory)

    def __reduce__(self):
        raise TypeError("a SileroDetector belongs to one stream and cannot be pickled or copied")

    cdef int reset_state(self) except -1 nogil:
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            memset(self.states[channel], 0, sizeof(vg_silero_state_t))
        return 0

    cdef int step(self, const sample_t **frames, float *probabilities) except -1 nogil:
        vg_silero_step(self.network.function, &self.network.net, self.channels, self.states, frames, probabilities)
        return 0


def activations(values, isa=None) -> tuple[np.ndarray, np.ndarray]:
    """The kernel's sigmoid and tanh of ``values`` (float32, any shape), so that their accuracy can be tested apart.

    Returns two float32 arrays of that shape. ``isa`` as in :class:`SileroNetwork`.
    """
    cdef int number = isa_module.resolve(isa)
    x = np.asarray(values, dtype=np.float32)
    cdef Py_ssize_t n_padded = -(-x.size // 16) * 16
    cdef cnp.ndarray padded = np.zeros(n_padded, dtype=np.float32)
    padded[: x.size] = x.ravel()
    cdef cnp.ndarray sigmoid = np.empty(n_padded, dtype=np.float32), tanh = np.empty(n_padded, dtype=np.float32)
    vg_activations_function(number)(
        <const float *>cnp.PyArray_DATA(padded),
        n_padded,
        <float *>cnp.PyArray_DATA(sigmoid),
        <float *>cnp.PyArray_DATA(tanh),
    )
    return sigmoid[: x.size].reshape(x.shape), tanh[: x.size].reshape(x.shape)
