"""The types and bounds that all native modules share."""

from libc.stdint cimport int64_t

# One audio sample of one channel, -1..1.
ctypedef float sample_t

# Absolute sample index since the start of the session, at the model's rate. 64 bits: 32 would overflow after 37 h at 16 kHz.
ctypedef int64_t pos_t

# The sample rates that can be converted and measured, in Hz, both included. Python: voxgate.protocol.formats.
cdef enum:
    LOWEST_RATE = 4_000
    HIGHEST_RATE = 192_000
