"""The two numbers everything native speaks in."""

from libc.stdint cimport int64_t

# One audio sample of one channel, -1..1.
ctypedef float sample_t

# Absolute sample index since the start of the session, at the model's rate. 64 bits: 32 would overflow after 37 h at 16 kHz.
ctypedef int64_t pos_t
