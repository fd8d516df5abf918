"""Endpointing: plain structs, stepped without the GIL. The rules stand in endpoint.pyx."""

from .types cimport pos_t

cdef enum:
    ENDPOINT_SPEECH_START = 1
    ENDPOINT_SPEECH_END = 2
    ENDPOINT_SPEECH_CUT = 3
    ENDPOINT_INTERIM = 4
    ENDPOINT_SPECULATE = 5
    ENDPOINT_RESUMED = 6
    ENDPOINT_QUESTION = 7


cdef struct endpoint_rules_t:
    float threshold
    float negative_threshold
    pos_t prefix_samples
    pos_t suffix_samples
    pos_t silence_samples
    pos_t min_speech_samples
    pos_t max_segment_samples
    pos_t interim_samples       # 0: no interims
    pos_t speculate_samples     # 0: no speculation
    pos_t turn_samples          # 0: no questions
    pos_t turn_max_samples      # less than silence_samples counts as that
    pos_t turn_window_samples


cdef struct endpoint_event_t:
    int kind
    pos_t start_pos
    pos_t end_pos


# One channel. All zeroes is the state of a new stream.
cdef struct endpoint_t:
    int state
    bint in_silence
    bint speculated             # in silence: this run has had its SPECULATE
    bint resumed                # speech has just ended a run that had one, or a QUESTION, at silence_pos
    bint asked                  # in silence: this run has had its QUESTION
    bint waits                  # and no answer yet
    bint patient                # the answer: more will come
    pos_t heard_pos             # end of the last frame stepped
    pos_t floor_pos             # end of the last segment: no later one starts before it
    pos_t candidate_pos         # pending: where the first speech frame starts
    pos_t start_pos             # speaking: where the open segment starts
    pos_t silence_pos           # in silence: where the run starts
    pos_t interim_pos           # speaking: the next interim is due interim_samples after this


cdef class EndpointConfig:
    cdef endpoint_rules_t rules
    cdef readonly Py_ssize_t frame_samples


cdef class Endpointer:
    cdef readonly EndpointConfig config
    cdef endpoint_t _endpoint

    cdef pos_t _checked(self, object received_pos) except -1


# A frame ends at end_pos (> heard_pos) with this probability. Then ask endpoint_next until it returns 0.
cdef void endpoint_step(
    endpoint_t *self, const endpoint_rules_t *rules, float probability, pos_t end_pos
) noexcept nogil
cdef bint endpoint_next(endpoint_t *self, const endpoint_rules_t *rules, endpoint_event_t *event) noexcept nogil
# Close the open segment at received_pos (>= heard_pos): ask until it returns 0.
cdef bint endpoint_flush(
    endpoint_t *self, const endpoint_rules_t *rules, pos_t received_pos, endpoint_event_t *event
) noexcept nogil
# The answer to the QUESTION of this run: over (1), more will come (-1), neither (0). Whether it ends the segment.
cdef bint endpoint_answer(
    endpoint_t *self, const endpoint_rules_t *rules, int verdict, endpoint_event_t *event
) noexcept nogil
# Drop the open segment or the candidate; nothing before received_pos (>= heard_pos) becomes part of a later segment.
cdef void endpoint_clear(endpoint_t *self, pos_t received_pos) noexcept nogil
# The oldest sample an open or a later segment may begin with.
cdef pos_t endpoint_keep_pos(const endpoint_t *self, const endpoint_rules_t *rules) noexcept nogil
cdef bint endpoint_speaking(const endpoint_t *self) noexcept nogil
