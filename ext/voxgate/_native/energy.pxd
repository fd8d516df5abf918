from .detector cimport Detector
from .types cimport sample_t


cdef extern from "energy.h" nogil:
    float vg_frame_power(const float *samples, Py_ssize_t n)


cdef enum:
    N_BLOCKS = 8                    # the window of the minimum, in blocks
    BLOCK_FRAMES = 15               # 0.3 s


# The state of one channel: levels in dB relative to full scale.
cdef struct channel_state_t:
    bint started                    # a frame with a signal has been stepped
    bint silent                     # the last frame was digital silence
    float level                     # smoothed
    float floor                     # of the noise
    float block_min                 # of the smoothed level in the current block
    float block_mins[N_BLOCKS]      # in the blocks before it
    int n_block_frames              # in the current block
    int next_block                  # of block_mins, to be overwritten


cdef class EnergyDetector(Detector):
    cdef channel_state_t *_states

    cdef int step(self, const sample_t **frames, float *probabilities) except -1 nogil
    cdef int reset_state(self) except -1 nogil
