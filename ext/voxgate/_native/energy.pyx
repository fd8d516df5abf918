"""A voice-activity detector without weights: the level of a frame above an adaptive noise floor."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport INFINITY, expf, isfinite, log10f

from .detector cimport Detector
from .types cimport HIGHEST_RATE, LOWEST_RATE, sample_t

cdef Py_ssize_t MAX_CHANNELS = 256

# The tunables of the algorithm below, in dB and frames of 20 ms. tests/reference/energy_ref.py says the same in NumPy.
cdef float SMOOTHING = 0.5              # share of the frame before in the smoothed level
cdef float SILENCE_DB = -90.0           # below is digital silence: not even the last bit of 16 is at work
cdef float START_FLOOR_DB = -40.0       # highest floor at the start: rooms are quieter, speech is louder
cdef float MIN_FLOOR_DB = -70.0
cdef float BIAS_DB = 1.5                # a minimum over 2.4 s lies that much below the mean of noise
cdef float RISE_DB = 0.8               # highest rise of the floor in a frame: 40 dB a second
cdef float MIDDLE_DB = 6.0              # distance to the floor at which the probability is 0.5
cdef float WIDTH_DB = 1.5               # change of that distance for a factor e in p / (1 - p)


cdef void _reset(channel_state_t *state) noexcept nogil:
    cdef int block
    state.started = False
    state.silent = True
    state.level = SILENCE_DB
    state.floor = START_FLOOR_DB
    state.block_min = INFINITY
    for block in range(N_BLOCKS):
        state.block_mins[block] = INFINITY
    state.n_block_frames = 0
    state.next_block = 0


cdef float _probability(channel_state_t *state, float power) noexcept nogil:
    cdef float level, lowest
    cdef int block
    if not isfinite(power):
        return 0.0
    level = 10.0 * log10f(power + 1e-12)
    if level < SILENCE_DB:
        state.silent = True
        return 0.0
    state.level = level if state.silent else level + SMOOTHING * (state.level - level)
    state.silent = False

    # Minimum of the smoothed level over the window.
    if state.level < state.block_min:
        state.block_min = state.level
    lowest = state.block_min
    for block in range(N_BLOCKS):
        if state.block_mins[block] < lowest:
            lowest = state.block_mins[block]
    state.n_block_frames += 1
    if state.n_block_frames == BLOCK_FRAMES:
        state.block_mins[state.next_block] = state.block_min
        state.next_block = (state.next_block + 1) % N_BLOCKS
        state.block_min = INFINITY
        state.n_block_frames = 0

    # The floor: down with the minimum at once, up at a limited speed.
    lowest += BIAS_DB
    if lowest > state.floor + RISE_DB:
        lowest = state.floor + RISE_DB
    state.floor = lowest if lowest > MIN_FLOOR_DB else MIN_FLOOR_DB
    return 1.0 / (1.0 + expf((MIDDLE_DB - (state.level - state.floor)) / WIDTH_DB))


@cython.final
cdef class EnergyDetector(Detector):
    """Speech is what stands out of the noise floor. For every channel and frame of 20 ms (``sample_rate // 50``
    samples):

    1. the level is the mean square without the mean, in dB of full scale, smoothed over about two frames;
    2. the noise floor is the minimum of that level over the last 2.4 s, bias-compensated: speech of any length has
       gaps shorter than that (a plosive is enough), stationary noise has not. It falls at once and rises by at most 40
       dB a second;
    3. the probability is a logistic function of the distance between them: 0.5 at 6 dB, 0.35 at 5.1 dB, 0.98 at 12 dB.

    This is the minimum statistics of R. Martin, "Noise power spectral density estimation based on optimal smoothing
    and minimum statistics", IEEE Trans. Speech and Audio Processing 9(5), 2001, in one band, with a fixed bias and a
    limited rise.

    Frames of digital silence (below -90 dB) have probability 0 and teach nothing, so that muting does not unlearn the
    room. At the start the floor is at most -40 dB and never below -70 dB. A noise that sets in suddenly counts as
    speech until the window has passed and the floor has risen. A frame whose energy is not finite has probability 0
    and changes nothing.

    ``channels``: 1..256; ``sample_rate``: 4000..192000 Hz; ValueError outside. Nothing in it drifts: it may run for
    ever. Threads: one caller at a time.
    """

    def __cinit__(self, Py_ssize_t channels=1, Py_ssize_t sample_rate=16000):
        cdef Py_ssize_t channel
        if not 1 <= channels <= MAX_CHANNELS:
            raise ValueError(f"channels must be 1..{MAX_CHANNELS}, got {channels}")
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise ValueError(f"sample_rate must be {LOWEST_RATE}..{HIGHEST_RATE} Hz, got {sample_rate}")
        self._states = <channel_state_t *>PyMem_Malloc(channels * sizeof(channel_state_t))
        if self._states == NULL:
            raise MemoryError
        self.channels = channels
        self.sample_rate = <int>sample_rate
        self.frame_samples = sample_rate // 50
        for channel in range(channels):
            _reset(&self._states[channel])

    def __dealloc__(self):
        PyMem_Free(self._states)

    def __reduce__(self):
        raise TypeError("an EnergyDetector belongs to one stream and cannot be pickled or copied")

    @property
    def floor_db(self) -> list[float]:
        """The noise floor of every channel, in dB of full scale."""
        return [self._states[channel].floor for channel in range(self.channels)]

    cdef int step(self, const sample_t **frames, float *probabilities) except -1 nogil:
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            probabilities[channel] = _probability(
                &self._states[channel], vg_frame_power(frames[channel], self.frame_samples)
            )
        return 0

    cdef int reset_state(self) except -1 nogil:
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            _reset(&self._states[channel])
        return 0
