"""Endpointing: probabilities of speech in, starts and ends of segments out. Integers only, but for the comparison of a
probability.

The rules, for one channel. Positions are samples since the start of the stream. A frame covers [f0, f1); it is looked
at once, when it is complete, so nothing depends on how the audio was cut on its way here. The *floor* is the end of the
last segment, 0 at first.

1. Idle. ``p >= threshold`` makes a candidate at ``max(f0, floor)`` and goes to pending, within the same frame.
2. Pending. ``p < negative_threshold`` drops the candidate. Otherwise, once ``f1 - candidate >= min_speech``, a segment
   opens: SPEECH_START with ``start = max(candidate - prefix, floor)`` and the deciding position f1.
3. Speaking. ``p < negative_threshold`` starts a silence run at f0, if none runs; ``p >= threshold`` ends the run; a
   probability in between changes nothing, neither here nor in 1 and 2.
4. A run with ``f1 - run >= silence`` closes the segment: SPEECH_END at ``min(run + suffix, f1)``. A suffix longer than
   the silence is cut short: a decision never waits for padding.
5. A segment never exceeds ``max_segment``. When ``f1 - start >= max_segment`` and a run is open, the run closes the
   segment as in 4, at ``start + max_segment`` at most: a pause is the best place to cut. Without one, SPEECH_CUT
   [start, start + max_segment), and the segment goes on from there; several times within one frame, where frames are
   long.
6. With interims wanted, and no run open, INTERIM [start, f1) whenever ``f1`` lies ``interim`` samples or more after the
   last of: the candidate (so that the prefix does not count as speech), the last interim, the last cut. At most one a
   frame.
7. Flush at ``received`` (f1 of the last frame or later) closes the open segment as if its silence were long enough:
   SPEECH_END at ``min(run + suffix, received)`` with a run open, at ``received`` without; cuts come first if it has
   outgrown ``max_segment``. With no segment open, a flush changes nothing; a pending candidate stays, so that nobody
   loses the beginning of a word. After a flush amid a frame, that frame's candidate begins at the floor (rule 1): what
   was flushed is not counted as speech again.
8. At the end of the stream the last frame, filled up with zeros by the caller, is stepped with ``f1 = received``, and
   then flushed. So no position ever lies beyond the audio received. A candidate still pending was too short, and is
   dropped.

9. With speculation wanted, SPECULATE [start, run + suffix) when ``f1 - run`` reaches the later of ``speculate`` and
   ``suffix``, once a run, unless the run closes the segment in this frame. If the run lasts, this is the segment: the
   END of 4, 5 and 7 then has the same bounds. RESUMED [start, f0) when speech ends such a run at f0.
10. With turn detection, QUESTION [max(start, f1 - window), f1) when ``f1 - run`` reaches the later of ``turn`` and
   ``suffix``, once a run, unless the run closes the segment in this frame or begins where the segment was cut. The
   caller stops here until it has the answer. *Over* closes the segment at once: END has the bounds of 4. After *more
   will come* the run closes the segment only with ``f1 - run >= turn_max``, or ``silence`` if that is more. Without
   either answer, 4 holds. RESUMED comes after a QUESTION, too, when speech ends the run.
11. Clear at ``received`` (as in 7) drops the open segment, or the candidate, without an event; the floor is then
   ``received``: nothing that came before is part of a later segment.

Hence, per channel and without a clear: events read
(START (INTERIM | CUT | PAUSE RESUMED)* PAUSE? END)*, where PAUSE is SPECULATE, QUESTION or both, in any order; the segments (each CUT and each END) do not overlap, and
do not reach before 0 or beyond the audio received; none is longer than max_segment. Only the END after a CUT can be
empty (``start == end``).

Thresholds and probabilities are compared as float32, the type of the detectors.
"""

cimport cython
from cpython.number cimport PyNumber_Index
from libc.math cimport isfinite
from libc.string cimport memset

SPEECH_START = ENDPOINT_SPEECH_START
SPEECH_END = ENDPOINT_SPEECH_END
SPEECH_CUT = ENDPOINT_SPEECH_CUT
INTERIM = ENDPOINT_INTERIM
SPECULATE = ENDPOINT_SPECULATE
RESUMED = ENDPOINT_RESUMED
QUESTION = ENDPOINT_QUESTION

cdef enum:
    _IDLE = 0
    _PENDING = 1
    _SPEAKING = 2

# Longest time a setting may name: 2^40 samples, two years at 16 kHz. Keeps every sum far from overflow.
cdef long long _MAX_SAMPLES = 1 << 40
# Positions that an Endpointer takes: with a setting added they do not overflow.
cdef long long _MAX_POS = 1 << 62


cdef pos_t _min(pos_t a, pos_t b) noexcept nogil:
    return a if a < b else b


cdef pos_t _max(pos_t a, pos_t b) noexcept nogil:
    return a if a > b else b


cdef void _end_run(endpoint_t *self) noexcept nogil:
    self.in_silence = self.speculated = self.asked = self.waits = self.patient = False


cdef void endpoint_step(
    endpoint_t *self, const endpoint_rules_t *rules, float probability, pos_t end_pos
) noexcept nogil:
    cdef pos_t frame_pos = self.heard_pos
    cdef bint speech = probability >= rules.threshold
    cdef bint silence = probability < rules.negative_threshold
    self.heard_pos = end_pos
    if self.state == _SPEAKING:
        if speech:
            if self.speculated or self.asked:
                self.resumed = True
                self.silence_pos = frame_pos
            _end_run(self)
        elif silence and not self.in_silence:
            self.in_silence = True
            self.silence_pos = frame_pos
    elif self.state == _PENDING:
        if silence:
            self.state = _IDLE
    elif speech:
        self.state = _PENDING
        self.candidate_pos = _max(frame_pos, self.floor_pos)


cdef bint _emit(endpoint_event_t *event, int kind, pos_t start_pos, pos_t end_pos) noexcept nogil:
    event.kind = kind
    event.start_pos = start_pos
    event.end_pos = end_pos
    return True


cdef bint _end(endpoint_t *self, pos_t end_pos, endpoint_event_t *event) noexcept nogil:
    self.state = _IDLE
    _end_run(self)
    self.floor_pos = end_pos
    return _emit(event, ENDPOINT_SPEECH_END, self.start_pos, end_pos)


cdef bint _cut(endpoint_t *self, pos_t cut_pos, endpoint_event_t *event) noexcept nogil:
    _emit(event, ENDPOINT_SPEECH_CUT, self.start_pos, cut_pos)
    self.start_pos = cut_pos
    self.interim_pos = cut_pos
    return True


cdef pos_t _longest_silence(const endpoint_t *self, const endpoint_rules_t *rules) noexcept nogil:
    return _max(rules.silence_samples, rules.turn_max_samples) if self.patient else rules.silence_samples


cdef bint _end_silence(
    endpoint_t *self, const endpoint_rules_t *rules, pos_t most_pos, endpoint_event_t *event
) noexcept nogil:
    cdef pos_t cut_pos = self.start_pos + rules.max_segment_samples
    return _end(self, _min(_min(self.silence_pos + rules.suffix_samples, most_pos), cut_pos), event)


cdef bint endpoint_next(endpoint_t *self, const endpoint_rules_t *rules, endpoint_event_t *event) noexcept nogil:
    cdef pos_t heard = self.heard_pos, cut_pos
    if self.state == _PENDING and heard - self.candidate_pos >= rules.min_speech_samples:
        self.state = _SPEAKING
        self.start_pos = _max(self.candidate_pos - rules.prefix_samples, self.floor_pos)
        self.interim_pos = self.candidate_pos
        return _emit(event, ENDPOINT_SPEECH_START, self.start_pos, heard)
    if self.state != _SPEAKING:
        return False
    if self.resumed:
        self.resumed = False
        return _emit(event, ENDPOINT_RESUMED, self.start_pos, self.silence_pos)
    cut_pos = self.start_pos + rules.max_segment_samples
    if self.in_silence:
        if heard - self.silence_pos >= _longest_silence(self, rules) or heard >= cut_pos:
            return _end_silence(self, rules, heard, event)
        if (
            rules.speculate_samples > 0 and not self.speculated
            and heard - self.silence_pos >= _max(rules.speculate_samples, rules.suffix_samples)
        ):
            self.speculated = True
            return _emit(event, ENDPOINT_SPECULATE, self.start_pos, self.silence_pos + rules.suffix_samples)
        if (
            rules.turn_samples > 0 and not self.asked and self.silence_pos > self.start_pos
            and heard - self.silence_pos >= _max(rules.turn_samples, rules.suffix_samples)
        ):
            self.asked = self.waits = True
            return _emit(event, ENDPOINT_QUESTION, _max(self.start_pos, heard - rules.turn_window_samples), heard)
        return False
    if heard >= cut_pos:
        return _cut(self, cut_pos, event)
    if rules.interim_samples > 0 and heard - self.interim_pos >= rules.interim_samples:
        self.interim_pos = heard
        return _emit(event, ENDPOINT_INTERIM, self.start_pos, heard)
    return False


cdef bint endpoint_flush(
    endpoint_t *self, const endpoint_rules_t *rules, pos_t received_pos, endpoint_event_t *event
) noexcept nogil:
    cdef pos_t cut_pos = self.start_pos + rules.max_segment_samples
    if self.state != _SPEAKING:
        return False
    if self.in_silence:
        return _end_silence(self, rules, received_pos, event)
    if received_pos > cut_pos:
        return _cut(self, cut_pos, event)
    return _end(self, received_pos, event)


cdef bint endpoint_answer(
    endpoint_t *self, const endpoint_rules_t *rules, int verdict, endpoint_event_t *event
) noexcept nogil:
    self.waits = False
    if verdict > 0:
        return _end_silence(self, rules, self.heard_pos, event)
    self.patient = verdict < 0
    return False


cdef void endpoint_clear(endpoint_t *self, pos_t received_pos) noexcept nogil:
    self.state = _IDLE
    _end_run(self)
    self.floor_pos = received_pos


cdef pos_t endpoint_keep_pos(const endpoint_t *self, const endpoint_rules_t *rules) noexcept nogil:
    if self.state == _SPEAKING:
        return self.start_pos
    if self.state == _PENDING:
        return _max(self.candidate_pos - rules.prefix_samples, self.floor_pos)
    return _max(self.heard_pos - rules.prefix_samples, self.floor_pos)


cdef bint endpoint_speaking(const endpoint_t *self) noexcept nogil:
    return self.state == _SPEAKING


@cython.final
cdef class EndpointConfig:
    """The settings of the rules, immutable. All in samples at the detector's rate, but for the two thresholds.

    ``0 <= negative_threshold <= threshold <= 1``; ``frame_samples`` and ``max_segment_samples`` at least 1, the others
    at least 0; ``interim_samples`` 0 means no interims, ``speculate_samples`` 0 no
    speculation, ``turn_samples`` 0 no questions. ValueError names the field, the value and the range.
    """

    def __cinit__(
        self,
        frame_samples,
        threshold=0.5,
        negative_threshold=0.35,
        prefix_samples=9600,
        suffix_samples=0,
        silence_samples=9600,
        min_speech_samples=1440,
        max_segment_samples=480000,
        interim_samples=0,
        speculate_samples=0,
        turn_samples=0,
        turn_max_samples=0,
        turn_window_samples=128000,
    ):
        self.frame_samples = _samples("frame_samples", frame_samples, 1)
        self.rules.prefix_samples = _samples("prefix_samples", prefix_samples, 0)
        self.rules.suffix_samples = _samples("suffix_samples", suffix_samples, 0)
        self.rules.silence_samples = _samples("silence_samples", silence_samples, 0)
        self.rules.min_speech_samples = _samples("min_speech_samples", min_speech_samples, 0)
        self.rules.max_segment_samples = _samples("max_segment_samples", max_segment_samples, 1)
        self.rules.interim_samples = _samples("interim_samples", interim_samples, 0)
        self.rules.speculate_samples = _samples("speculate_samples", speculate_samples, 0)
        self.rules.turn_samples = _samples("turn_samples", turn_samples, 0)
        self.rules.turn_max_samples = _samples("turn_max_samples", turn_max_samples, 0)
        self.rules.turn_window_samples = _samples("turn_window_samples", turn_window_samples, 1)
        self.rules.threshold = _level("threshold", threshold, 1.0)
        self.rules.negative_threshold = _level("negative_threshold", negative_threshold, threshold)

    def __reduce__(self):
        return EndpointConfig, (
            self.frame_samples, self.threshold, self.negative_threshold, self.prefix_samples, self.suffix_samples,
            self.silence_samples, self.min_speech_samples, self.max_segment_samples, self.interim_samples,
            self.speculate_samples, self.turn_samples, self.turn_max_samples, self.turn_window_samples,
        )

    @property
    def threshold(self):
        return self.rules.threshold

    @property
    def negative_threshold(self):
        return self.rules.negative_threshold

    @property
    def prefix_samples(self):
        return self.rules.prefix_samples

    @property
    def suffix_samples(self):
        return self.rules.suffix_samples

    @property
    def silence_samples(self):
        return self.rules.silence_samples

    @property
    def min_speech_samples(self):
        return self.rules.min_speech_samples

    @property
    def max_segment_samples(self):
        return self.rules.max_segment_samples

    @property
    def interim_samples(self):
        return self.rules.interim_samples

    @property
    def speculate_samples(self):
        return self.rules.speculate_samples

    @property
    def turn_samples(self):
        return self.rules.turn_samples

    @property
    def turn_max_samples(self):
        return self.rules.turn_max_samples

    @property
    def turn_window_samples(self):
        return self.rules.turn_window_samples

    def __repr__(self):
        return (
            f"EndpointConfig(frame_samples={self.frame_samples}, threshold={self.threshold}, "
            f"negative_threshold={self.negative_threshold}, prefix_samples={self.prefix_samples}, "
            f"suffix_samples={self.suffix_samples}, silence_samples={self.silence_samples}, "
            f"min_speech_samples={self.min_speech_samples}, max_segment_samples={self.max_segment_samples}, "
            f"interim_samples={self.interim_samples}, speculate_samples={self.speculate_samples}, "
            f"turn_samples={self.turn_samples}, turn_max_samples={self.turn_max_samples}, "
            f"turn_window_samples={self.turn_window_samples})"
        )


cdef pos_t _samples(str name, object value, pos_t least) except -1:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer number of samples, got {value!r}")
    if not least <= value <= _MAX_SAMPLES:
        raise ValueError(f"{name} must be within {least}..{_MAX_SAMPLES} samples, got {value!r}")
    return value


cdef pos_t _position(object pos) except? -1:
    """A Python integer, and nothing that merely can be made one: Cython alone would cut 1.5 down to 1."""
    return PyNumber_Index(pos)


cdef float _level(str name, object value, object most) except -1:
    cdef double level = value
    if not isfinite(level) or not 0.0 <= level <= most:
        raise ValueError(f"{name} must be within 0..{most}, got {value!r}")
    return level


@cython.final
cdef class Endpointer:
    """The rules of this module for one channel, one frame a call. VadSession has them built in; this is for tests and
    other uses.

    An event is ``(kind, start_pos, end_pos)``, kind one of SPEECH_START, SPEECH_END, SPEECH_CUT, INTERIM, SPECULATE, RESUMED, QUESTION; the
    ``end_pos`` of SPEECH_START is the position at which it was decided. Threads: one caller at a time; the GIL is kept.
    """

    def __cinit__(self, EndpointConfig config not None):
        self.config = config

    def __reduce__(self):
        raise TypeError("an Endpointer belongs to one stream and cannot be pickled or copied")

    def step(self, float probability, end_pos=None):
        """A frame has ended, at ``end_pos``, or ``frame_samples`` after the last one. Returns its events.

        ValueError when ``end_pos`` does not lie after the end of the frame before, or beyond 2^62.
        """
        cdef pos_t end = self._endpoint.heard_pos + self.config.frame_samples if end_pos is None else _position(end_pos)
        cdef endpoint_event_t event
        if end <= self._endpoint.heard_pos:
            raise ValueError(f"end_pos must be more than {self._endpoint.heard_pos}, got {end}")
        if end > _MAX_POS:
            raise ValueError(f"end_pos must be at most {_MAX_POS}, got {end}")
        self._endpoint.waits = False
        endpoint_step(&self._endpoint, &self.config.rules, probability, end)
        events = []
        while endpoint_next(&self._endpoint, &self.config.rules, &event):
            events.append((event.kind, event.start_pos, event.end_pos))
        return events

    def answer(self, int verdict):
        """The answer to the last QUESTION: over (above 0), more will come (below 0), or neither. Returns its events.

        ValueError unless the last frame asked it. Without an answer, the next frame counts as neither.
        """
        cdef endpoint_event_t event
        if not self._endpoint.waits:
            raise ValueError("no question is open")
        if endpoint_answer(&self._endpoint, &self.config.rules, verdict, &event):
            return [(event.kind, event.start_pos, event.end_pos)]
        return []

    def flush(self, received_pos):
        """Close the open segment at ``received_pos``, not before the last frame's end (ValueError). Returns its
        events."""
        cdef pos_t received = self._checked(received_pos)
        cdef endpoint_event_t event
        events = []
        while endpoint_flush(&self._endpoint, &self.config.rules, received, &event):
            events.append((event.kind, event.start_pos, event.end_pos))
        return events

    def clear(self, received_pos):
        """Drop the open segment at ``received_pos``, with the errors of ``flush``. There is no event."""
        endpoint_clear(&self._endpoint, self._checked(received_pos))

    cdef pos_t _checked(self, object received_pos) except -1:
        cdef pos_t received = _position(received_pos)
        if received < self._endpoint.heard_pos:
            raise ValueError(f"received_pos must be at least {self._endpoint.heard_pos}, got {received}")
        if received > _MAX_POS:
            raise ValueError(f"received_pos must be at most {_MAX_POS}, got {received}")
        return received

    def reset(self):
        """Begin a new stream at 0."""
        memset(&self._endpoint, 0, sizeof(endpoint_t))

    @property
    def heard_pos(self):
        """End of the last frame."""
        return self._endpoint.heard_pos

    @property
    def keep_pos(self):
        """The oldest sample that an open or a later segment may begin with. It never goes back."""
        return endpoint_keep_pos(&self._endpoint, &self.config.rules)

    @property
    def speaking(self):
        """Whether a segment is open."""
        return endpoint_speaking(&self._endpoint)
