from .detector cimport Detector
from .types cimport sample_t


cdef extern from "silero.h" nogil:
    ctypedef struct vg_silero_state_t:
        float hidden[128]
        float cell[128]
        float context[64]

    ctypedef struct vg_silero_shorts_t:
        const short *rows
        const float *scale

    ctypedef struct vg_silero_net_t:
        const float *window
        const float *cosines
        const float *sines
        const void *conv[4][3]
        const float *conv_bias[4]
        const float *gates_input
        const float *gates_hidden
        const float *gate_bias
        const float *out_weight
        float out_bias
        int shorts
        vg_silero_shorts_t short_conv[3][2]
        vg_silero_shorts_t short_gates[2][2]
        int half

    ctypedef void (*vg_silero_batch_fn)(
        const vg_silero_net_t *net, int n, vg_silero_state_t **states, const float **frames, float *probabilities
    ) noexcept nogil

    int VG_SILERO_FRAME
    int VG_CONV_GROUP
    float VG_SHORT_TOP
    int vg_silero_gates_group(int isa)
    bint vg_has_half(int isa)
    bint vg_has_shorts(int isa)
    vg_silero_batch_fn vg_silero_function(int isa)
    void vg_silero_step(
        vg_silero_batch_fn function, const vg_silero_net_t *net, Py_ssize_t n, vg_silero_state_t **states,
        const float **frames, float *probabilities
    )
    ctypedef void (*vg_activations_fn)(const float *x, Py_ssize_t n, float *sigmoid, float *tanh) noexcept nogil
    vg_activations_fn vg_activations_function(int isa)


cdef class SileroNetwork:
    cdef vg_silero_net_t net
    cdef vg_silero_batch_fn function
    cdef object _packed  # the array that owns all weights
    cdef readonly str isa
    cdef readonly Py_ssize_t nbytes
    cdef readonly bint half
    cdef readonly str precision


cdef class SileroDetector(Detector):
    cdef readonly SileroNetwork network
    cdef void *_memory
    cdef vg_silero_state_t **states  # one pointer per channel, for whoever steps several detectors together
    cdef int step(self, const sample_t **frames, float *probabilities) except -1 nogil
    cdef int reset_state(self) except -1 nogil
