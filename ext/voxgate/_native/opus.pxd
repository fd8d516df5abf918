"""What the first bytes of an Opus packet say (RFC 6716, section 3.1)."""

from libc.stdint cimport uint8_t

cdef enum:
    # Of a packet, at 48 kHz, the clock of Opus in every container.
    OPUS_MOST_SAMPLES = 5_760
    # The longest gap in the time of a stream that is reported, 60 s; a longer one is an error.
    OPUS_MOST_GAP = 2_880_000


# Samples of the packet at 48 kHz; 0: it is not valid.
cdef inline int opus_samples(const uint8_t *packet, Py_ssize_t n_bytes) noexcept nogil:
    cdef int config, frame, n_frames
    if n_bytes < 1:
        return 0
    config = packet[0] >> 3
    if config < 12:
        frame = 2880 if config & 3 == 3 else 480 << (config & 3)
    elif config < 16:
        frame = 480 << (config & 1)
    else:
        frame = 120 << (config & 3)
    if packet[0] & 3 == 0:
        return frame
    if packet[0] & 3 < 3:
        return 2 * frame
    if n_bytes < 2:
        return 0
    n_frames = packet[1] & 63
    return frame * n_frames if frame * n_frames <= OPUS_MOST_SAMPLES else 0
