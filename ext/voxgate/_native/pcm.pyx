"""Wire bytes to float32 channel planes: decoded and de-interleaved in one pass, split frames carried on."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memcpy

cimport numpy as cnp

cnp.import_array()
vg_pcm_init()

cdef Py_ssize_t MAX_CHANNELS = 256

# From this many bytes on the GIL is released: above the largest wire message, so that an event loop never does it
# here. Alone, release and return cost 30 ns (a push of 3840 bytes: 210 -> 240 ns). Beside a thread that runs Python,
# the GIL is now and then lost for one or two switch intervals: the mean of such a push goes from 0.2 to 1.9 us, of a
# push of 1 MiB from 34 to 185 us, single calls wait 9 ms. Keeping the GIL for 34 us delays nobody as much. Whoever
# pushes whole files at once is no event loop.
cdef Py_ssize_t NOGIL_BYTES = 4194304


cdef const vg_pcm_encoding_t *_encoding(object name) except NULL:
    cdef int i
    for i in range(VG_PCM_ENCODINGS):
        if name == vg_pcm_encodings[i].name.decode():
            return &vg_pcm_encodings[i]
    known = ", ".join([vg_pcm_encodings[i].name.decode() for i in range(VG_PCM_ENCODINGS)])
    raise ValueError(f"encoding must be one of {known}, got {name!r}")


def sample_bytes(encoding) -> int:
    """Bytes one sample of ``encoding`` takes on the wire. ValueError when the encoding is unknown."""
    return _encoding(encoding).sample_bytes


cdef class PcmDecoder:
    """Decodes a stream of interleaved little-endian samples, cut anywhere, into float32 planes.

    ``encoding``: ``"s16"``, ``"s32"``, ``"u8"``, ``"s24"``, ``"f32"``, ``"f64"``, ``"mulaw"`` or ``"alaw"``;
    ``channels``: 1..256. ValueError when either is something else.

    Integers are divided by their full scale (s16 by 32768, s24 by 2**23, s32 by 2**31; u8 is (x - 128) / 128), mu-law
    and A-law are the output values of ITU-T G.711 divided by 32768. Of floats, what is not finite becomes 0 and the
    rest is clipped to -1..1.

    ``received_frames``: complete frames of this stream so far; after ``finish`` with the partial one, until the next
    push. However the bytes are cut into pushes, the samples are the same. Threads: one caller at a time. The GIL is released
    for pushes of 4 MiB and more.
    """

    def __cinit__(self, encoding, Py_ssize_t channels):
        cdef const vg_pcm_encoding_t *found = _encoding(encoding)
        if not 1 <= channels <= MAX_CHANNELS:
            raise ValueError(f"channels must be 1..{MAX_CHANNELS}, got {channels}")
        self.encoding = found.name.decode()
        self.channels = channels
        self._sample_bytes = found.sample_bytes
        self._decode = found.decode
        self.frame_bytes = channels * found.sample_bytes
        self.pending_bytes = 0
        self._pending = <unsigned char *>PyMem_Malloc(self.frame_bytes)
        if self._pending == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self._pending)

    def __reduce__(self):
        raise TypeError("a PcmDecoder belongs to one stream and cannot be pickled or copied")

    def push(self, data):
        """Decode ``data``: bytes, bytearray, memoryview or any other contiguous buffer, of any length, taken as raw
        bytes.

        Returns a new float32 array of shape (channels, frames) holding every frame that is complete by now; frames may
        be 0. TypeError when ``data`` is not a buffer, BufferError when the buffer is not contiguous; nothing is taken
        then.
        """
        cdef Py_buffer view
        if PyBytes_CheckExact(data):
            return self._push(<const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if not PyObject_CheckBuffer(data):
            raise TypeError(f"data must be bytes or another contiguous buffer, got {type(data).__name__}")
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        except (BufferError, ValueError) as exc:      # NumPy says ValueError
            raise BufferError(
                f"data must be bytes or another contiguous buffer, got {type(data).__name__}: {exc}"
            ) from None
        try:
            return self._push(<const unsigned char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef object _push(self, const unsigned char *data, Py_ssize_t n_bytes):
        cdef Py_ssize_t n_frames = self.n_frames(n_bytes), whole
        cdef cnp.npy_intp shape[2]
        shape[0] = self.channels
        shape[1] = n_frames
        result = cnp.PyArray_SimpleNew(2, shape, cnp.NPY_FLOAT32)      # before the state changes: it may fail
        cdef float *out = <float *>cnp.PyArray_DATA(<cnp.ndarray>result)
        if n_bytes < NOGIL_BYTES:
            self.decode(data, n_bytes, n_frames, out)
            return result
        whole = self._begin(&data, n_bytes, n_frames, &out)
        # From here on only `data` and `result` are touched: the GIL may go.
        cdef vg_pcm_decode_t decode = self._decode
        cdef Py_ssize_t channels = self.channels
        with nogil:
            decode(data, whole, channels, n_frames, out)
        return result

    cdef Py_ssize_t n_frames(self, Py_ssize_t n_bytes) noexcept:
        return (self.pending_bytes + n_bytes) // self.frame_bytes

    cdef void decode(self, const unsigned char *data, Py_ssize_t n_bytes, Py_ssize_t n_frames, float *out) noexcept:
        cdef Py_ssize_t whole = self._begin(&data, n_bytes, n_frames, &out)
        self._decode(data, whole, self.channels, n_frames, out)

    # Everything but the frames that lie whole in `data`: how many these are, and where they begin and go.
    cdef Py_ssize_t _begin(
        self, const unsigned char **data, Py_ssize_t n_bytes, Py_ssize_t n_frames, float **out
    ) noexcept:
        cdef Py_ssize_t pending = self.pending_bytes, missing, whole
        if self._finished:
            self._finished = False
            self.received_frames = 0
        self.received_frames += n_frames
        if n_frames == 0:
            memcpy(self._pending + pending, data[0], n_bytes)
            self.pending_bytes = pending + n_bytes
            return 0
        whole = n_frames
        if pending:
            missing = self.frame_bytes - pending
            memcpy(self._pending + pending, data[0], missing)
            self._decode(self._pending, 1, self.channels, n_frames, out[0])
            out[0] += 1
            data[0] += missing
            n_bytes -= missing
            whole -= 1
        self.pending_bytes = n_bytes - whole * self.frame_bytes
        memcpy(self._pending, data[0] + whole * self.frame_bytes, self.pending_bytes)
        return whole

    def finish(self):
        """End the stream: what a trailing split frame still holds, as float32 of shape (channels, 0 or 1); then as new.

        Complete samples of the split frame are kept, channels that have none get 0.0; an incomplete sample is dropped.
        """
        cdef Py_ssize_t kept = self.pending_bytes // self._sample_bytes, channel
        cdef cnp.npy_intp shape[2]
        shape[0] = self.channels
        shape[1] = 1 if kept else 0
        result = cnp.PyArray_ZEROS(2, shape, cnp.NPY_FLOAT32, 0)
        cdef float *out = <float *>cnp.PyArray_DATA(<cnp.ndarray>result)
        for channel in range(kept):
            self._decode(self._pending + channel * self._sample_bytes, 1, 1, 1, out + channel)
        self.pending_bytes = 0
        self.received_frames += shape[1]
        self._finished = True
        return result

    def take_rest(self):
        """Forget the bytes of a split frame, and return them: they belong to another stream."""
        rest = PyBytes_FromStringAndSize(<const char *>self._pending, self.pending_bytes)
        self.pending_bytes = 0
        return rest

    def reset(self) -> None:
        """Forget a split frame: the next byte is the first of a new stream."""
        self.pending_bytes = 0
        self.received_frames = 0
