cdef extern from "pcm.h" nogil:
    ctypedef void (*vg_pcm_decode_t)(
        const unsigned char *data, Py_ssize_t frames, Py_ssize_t channels, Py_ssize_t plane_stride, float *out
    ) noexcept
    ctypedef struct vg_pcm_encoding_t:
        const char *name
        int sample_bytes
        vg_pcm_decode_t decode
    int VG_PCM_ENCODINGS
    const vg_pcm_encoding_t vg_pcm_encodings[]
    void vg_pcm_init()


cdef class PcmDecoder:
    cdef readonly str encoding
    cdef readonly Py_ssize_t channels
    cdef readonly Py_ssize_t frame_bytes
    cdef readonly Py_ssize_t pending_bytes
    cdef readonly long long received_frames
    cdef bint _finished
    cdef Py_ssize_t _sample_bytes
    cdef vg_pcm_decode_t _decode
    cdef unsigned char *_pending        # frame_bytes bytes, the first pending_bytes of them hold the split frame

    cdef object _push(self, const unsigned char *data, Py_ssize_t n_bytes)
    cdef Py_ssize_t _begin(
        self, const unsigned char **data, Py_ssize_t n_bytes, Py_ssize_t n_frames, float **out
    ) noexcept
    # Frames that are complete with so many bytes more.
    cdef Py_ssize_t n_frames(self, Py_ssize_t n_bytes) noexcept
    # Those frames, into planes of n_frames each.
    cdef void decode(self, const unsigned char *data, Py_ssize_t n_bytes, Py_ssize_t n_frames, float *out) noexcept
