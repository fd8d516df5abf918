"""VadSession: a detector, endpointing and one sample ring per channel; audio of any length becomes speech events."""

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from libc.string cimport memset

cimport numpy as cnp

from .endpoint cimport (
    ENDPOINT_QUESTION,
    endpoint_answer,
    endpoint_clear,
    endpoint_event_t,
    endpoint_flush,
    endpoint_keep_pos,
    endpoint_next,
    endpoint_speaking,
    endpoint_step,
)
from .event cimport EventBuffer
from .silero cimport SileroDetector

import numpy as np

cnp.import_array()

# A call releases the GIL when its frames have this many samples or more, all channels together. Live chunks have fewer:
# a thread that releases the GIL for the 20 us of a frame may wait a switch interval (5 ms) to get it back when another
# thread computes in Python.
cdef Py_ssize_t _NOGIL_SAMPLES = 8192

# Room in a ring for audio behind a question, of one call: a day and a half at 16 kHz. What is not used takes no memory.
cdef Py_ssize_t _HELD_SAMPLES = 1 << 31

# Of a channel: its ring, its frame, its endpoint, and its probability.
cdef size_t _CHANNEL_BYTES = sizeof(void *) + sizeof(sample_t *) + sizeof(endpoint_t) + sizeof(float)

# A session leaves at most this many frames for `step_sessions`: 256 ms with Silero.
cdef Py_ssize_t _MAX_WAITING = 8


@cython.final
cdef class VadSession:
    """Finds the speech in all channels of one client session.

    ``detector``: owned by the session alone, in the state of a new stream; its ``channels`` are the session's.
    ``config``: its ``frame_samples`` must be the detector's (ValueError). The rules of segments are in ``endpoint``.

    Chunking is invisible: the same audio cut in any way gives the same events with the same audio. Events come in audio
    order; those of one frame in the order of the channels. Memory is bounded: a channel keeps only the
    audio that the open or the next segment may need, less than ``prefix + min_speech + max_segment`` and two frames.

    With turn detection (``config.turn_samples``), the session stops at the end of a frame with a QUESTION event until
    `answer` was called for all of its channels: audio is taken and kept, but no frame is looked at. `flush`, `clear`
    and `finish` do not wait: open questions get no answer, and nor do those of frames that were kept.

    When the detector raises (only one written in Python does) or memory runs out, ``feed`` raises the exception. The
    events of earlier frames are kept: ``flush`` and ``finish`` still return them and close open segments at
    ``received_pos``, which is then after the frame that failed; the rest of the chunk is not taken. ``feed`` raises
    RuntimeError until ``reset``.

    Threads: one caller at a time; a second call during the first, also from the session's own detector, raises
    RuntimeError. Calls with much work release the GIL.
    """

    def __cinit__(self, Detector detector not None, EndpointConfig config not None):
        cdef Py_ssize_t channels = detector.channels, channel
        if channels < 1 or detector.frame_samples < 1:
            raise ValueError(f"the detector has {channels} channels and frames of {detector.frame_samples} samples")
        if config.frame_samples != detector.frame_samples:
            raise ValueError(
                f"config.frame_samples must be {detector.frame_samples}, the detector's, got {config.frame_samples}"
            )
        self.detector = detector
        self.config = config
        self.channels = channels
        self._may_wait = type(detector) is SileroDetector and channels <= MAX_BATCH_CHANNELS
        # One block for all: with many streams, each has to come from memory for each message.
        self._rings = <void **>PyMem_RawCalloc(channels, _CHANNEL_BYTES)
        if self._rings == NULL:
            raise MemoryError
        self._frames = <const sample_t **>(self._rings + channels)
        self._endpoints = <endpoint_t *>(self._frames + channels)
        self._probabilities = <float *>(self._endpoints + channels)
        self._frame_samples = config.frame_samples
        self._events = EventBuffer()
        self._new_rings()

    def __dealloc__(self):
        PyMem_RawFree(self._rings)

    def __reduce__(self):
        raise TypeError("a VadSession belongs to one stream and cannot be pickled or copied")

    def feed(self, planes):
        """Take audio and return the events that it completes, a list of VadEvent.

        ``planes``: float32, shape (channels, n), any n, -1..1, at the detector's rate. The session does not keep it;
        nobody may write to it during the call. TypeError for another dtype or another type, ValueError for another
        shape, RuntimeError after ``finish`` or a failure, and when in use.
        """
        self._enter()
        try:
            return self._feed(planes)
        finally:
            self._busy = False

    def take(self, planes):
        """Take audio like ``feed``, but leave up to 8 complete frames for ``step_sessions``.

        Returns True when ``step_sessions`` has something to do: frames wait, or more than 8 were complete and have been
        stepped here, and their events wait. ``feed``, ``flush`` and ``finish`` step waiting frames first; until then
        ``speaking`` and ``last_probability`` do not include them. Only frames of a SileroDetector wait; with another
        detector, the frames are stepped here. Errors as in ``feed``.
        """
        self._enter()
        try:
            self._take(planes, self._may_wait)
            return self._n_pending >= self._frame_samples or self._events.n_events > 0
        finally:
            self._busy = False

    cdef list _feed(self, object planes):
        self._take(planes, False)
        return self._events.take()

    cdef bint take_planes(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1:
        self._enter()
        try:
            self._take_samples(planes, channel_stride, n, self._may_wait)
            return self._n_pending >= self._frame_samples or self._events.n_events > 0
        finally:
            self._busy = False

    cdef int _take(self, object planes, bint may_wait) except -1:
        if not cnp.PyArray_Check(planes) or cnp.PyArray_TYPE(<cnp.ndarray>planes) != cnp.NPY_FLOAT32:
            raise TypeError(
                f"planes must be a float32 array, got {getattr(planes, 'dtype', None) or type(planes).__name__}"
            )
        cdef cnp.ndarray audio = planes
        if cnp.PyArray_NDIM(audio) != 2 or cnp.PyArray_DIM(audio, 0) != self.channels:
            raise ValueError(f"planes must have shape ({self.channels}, samples), got {(<object>audio).shape}")
        if not cnp.PyArray_ISBEHAVED_RO(audio) or cnp.PyArray_STRIDE(audio, 1) != sizeof(sample_t) or (
            cnp.PyArray_STRIDE(audio, 0) % sizeof(sample_t) != 0
        ):
            audio = np.array(audio, dtype=np.float32, order="C")
        cdef const sample_t *samples = <const sample_t *>cnp.PyArray_DATA(audio)
        cdef Py_ssize_t channel_stride = cnp.PyArray_STRIDE(audio, 0) // <Py_ssize_t>sizeof(sample_t)
        return self._take_samples(samples, channel_stride, cnp.PyArray_DIM(audio, 1), may_wait)

    cdef int _take_samples(
        self, const sample_t *samples, Py_ssize_t channel_stride, Py_ssize_t n, bint may_wait
    ) except -1:
        if self._failed or self._finished:
            raise RuntimeError(
                "feed() after a failure: finish() closes what is open, reset() begins anew" if self._failed
                else "feed() after finish(): reset() begins a new stream"
            )
        cdef Py_ssize_t work = self._n_pending + n
        try:
            if may_wait and work < (_MAX_WAITING + 1) * self._frame_samples:
                self._push(samples, channel_stride, n)
            elif work // self._frame_samples * self._frame_samples * self.channels >= _NOGIL_SAMPLES:
                with nogil:
                    self._run(samples, channel_stride, n)
            else:
                self._run(samples, channel_stride, n)
        except BaseException:
            self._failed = True
            raise
        return 0

    def answer(self, Py_ssize_t channel, int verdict):
        """The answer to the QUESTION of a channel: the turn is over (above 0), more will come (below 0), or neither (0).

        Returns the events, which are those of the frame that asked. Frames that were kept are looked at by the next
        call of ``feed``, ``flush`` and so on. IndexError for a channel that does not exist, ValueError when no question
        of it is open, RuntimeError when in use.
        """
        cdef endpoint_event_t event
        cdef SampleRing ring
        self._enter()
        try:
            ring = self._ring(channel)
            if not self._endpoints[channel].waits:
                raise ValueError(f"no question of channel {channel} is open")
            self.n_questions -= 1
            if endpoint_answer(&self._endpoints[channel], &self.config.rules, verdict, &event):
                self._events.add(channel, &event, ring)
                ring.ring_discard_before(endpoint_keep_pos(&self._endpoints[channel], &self.config.rules))
            return self._events.take()
        finally:
            self._busy = False

    @property
    def waits_for_answer(self):
        """Whether a question is open."""
        return self.n_questions > 0

    def flush(self):
        """Close the open segments at ``received_pos`` (endpoint rule 7) and return the events; the stream continues.

        RuntimeError when in use. After ``finish`` it returns an empty list.
        """
        self._enter()
        try:
            if not self._failed:
                self._catch_up()
            self._close()
            return self._events.take()
        finally:
            self._busy = False

    def clear(self):
        """Drop the open segments: nothing that was received so far becomes part of a later one. The stream continues.

        Returns the events of frames that waited; for the segments that it drops there is none. RuntimeError when in
        use.
        """
        cdef Py_ssize_t channel
        self._enter()
        try:
            if not self._failed:
                self._catch_up()
            for channel in range(self.channels):
                endpoint_clear(&self._endpoints[channel], self.received_pos)
            return self._events.take()
        finally:
            self._busy = False

    def finish(self):
        """End the stream: step the last partial frame, padded with zeros, close open segments and return the events.

        No event ends after ``received_pos``. A second call returns an empty list. RuntimeError when in use. When the
        detector raises, so does this call; the next ``finish`` closes the segments without the partial frame.
        """
        self._enter()
        try:
            return self._finish()
        finally:
            self._busy = False

    cdef list _finish(self):
        cdef Py_ssize_t channel, n_partial
        cdef cnp.ndarray padded
        cdef sample_t *plane
        if not self._finished and not self._failed:
            self._catch_up()
        n_partial = self._n_pending
        if not self._finished and not self._failed and n_partial > 0:
            padded = np.zeros((self.channels, self._frame_samples), dtype=np.float32)
            for channel in range(self.channels):
                plane = <sample_t *>cnp.PyArray_DATA(padded) + channel * self._frame_samples
                self._ring(channel).ring_read(self.received_pos - n_partial, self.received_pos, plane)
                self._frames[channel] = plane
            self._n_pending = 0
            try:
                self._step_frame(self.received_pos)
            except BaseException:
                self._failed = True
                raise
        self._finished = True
        self._drop_questions()
        self._close()
        return self._events.take()

    def reset(self):
        """Begin a new stream at position 0, and reset the detector. RuntimeError when in use.

        When the detector raises, so does this call, and ``feed`` raises RuntimeError until a ``reset`` succeeds.
        """
        self._enter()
        try:
            self._failed = True
            self._finished = False
            self._events.clear()
            memset(self._endpoints, 0, self.channels * sizeof(endpoint_t))
            memset(self._probabilities, 0, self.channels * sizeof(float))
            self._n_pending = 0
            self.n_questions = 0
            self.received_pos = 0
            self._new_rings()
            self.detector.reset_state()
            self._failed = False
        finally:
            self._busy = False

    def read(self, Py_ssize_t channel, start_pos, end_pos):
        """A copy of the audio [start_pos, end_pos) of a channel: float32, shape (samples,).

        Meant for the interims of an open segment, whose audio is kept from its start to ``received_pos``. IndexError
        for audio that has been discarded, such as that of an INTERIM followed, in the same list, by the SPEECH_END or
        SPEECH_CUT of its channel, and for a channel that does not exist. RuntimeError when in use.
        """
        self._enter()
        try:
            return self._ring(channel).read(start_pos, end_pos)
        finally:
            self._busy = False

    def speaking(self, Py_ssize_t channel):
        """Whether a segment of the channel is open. IndexError for a channel that does not exist."""
        self._ring(channel)
        return endpoint_speaking(&self._endpoints[channel])

    def last_probability(self, Py_ssize_t channel):
        """The probability of the channel's last whole frame; 0.0 before the first. IndexError for a channel that does not exist."""
        self._ring(channel)
        return self._probabilities[channel]

    @property
    def nbytes(self):
        """Bytes in use for audio and state, without those of the detector."""
        return (
            sum(ring.nbytes for ring in self._ring_objects) + self.channels * _CHANNEL_BYTES + self._events.nbytes()
        )

    cdef int _new_rings(self) except -1:
        cdef EndpointConfig config = self.config
        cdef Py_ssize_t channel
        # The longest open segment, before it is cut at the end of a frame; a partial frame after it; and the frames that
        # wait for `step_sessions`.
        capacity = (
            config.rules.prefix_samples + config.rules.min_speech_samples + config.rules.max_segment_samples
            + 2 * config.frame_samples
        )
        if self._may_wait:
            capacity += _MAX_WAITING * config.frame_samples
        if config.rules.turn_samples > 0:
            capacity += _HELD_SAMPLES
        self._ring_objects = [SampleRing(capacity) for _ in range(self.channels)]
        for channel in range(self.channels):
            self._rings[channel] = <void *><object>self._ring_objects[channel]
        return 0

    cdef SampleRing _ring(self, Py_ssize_t channel):
        if not 0 <= channel < self.channels:
            raise IndexError(f"channel must be within 0..{self.channels - 1}, got {channel}")
        return self._ring_objects[channel]

    # Busy until the call ends, not only while it works without the GIL: NumPy releases the GIL when it copies, and an
    # allocation may start the garbage collector, which runs arbitrary code.
    cdef int _enter(self) except -1:
        if self._busy:
            raise RuntimeError("this VadSession is in use: one caller at a time")
        self._busy = True
        return 0

    # Takes audio in parts that end where a frame ends. The detector reads a frame in the ring, where it is contiguous
    # whatever the chunks were.
    cdef int _run(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil:
        cdef Py_ssize_t frame_samples = self._frame_samples, done = 0, part
        self._step_waiting()
        while done < n:
            part = frame_samples - self._n_pending
            if part > n - done or self.n_questions > 0:
                part = n - done
            self._push(planes + done, channel_stride, part)
            done += part
            self._step_waiting()
        return 0

    cdef int _push(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil:
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            (<SampleRing>self._rings[channel]).ring_push(planes + channel * channel_stride, n)
        self._n_pending += n
        self.received_pos += n
        return 0

    cdef int _step_waiting(self) except -1 nogil:
        cdef pos_t end_pos
        cdef sample_t *room
        if self._n_pending < self._frame_samples or self.n_questions > 0:
            return 0
        room = <sample_t *>PyMem_RawMalloc(self.channels * self._frame_samples * sizeof(sample_t))
        if room == NULL:
            with gil:
                raise MemoryError(f"no memory for a frame of {self.channels} channels")
        try:
            while self._n_pending >= self._frame_samples and self.n_questions == 0:
                end_pos = self._next_frame(room)
                self._step_frame(end_pos)
        finally:
            PyMem_RawFree(room)
        return 0

    # The same for callers other than `feed`, without answers: an exception ends the stream here, too.
    cdef int _catch_up(self) except -1:
        try:
            self._step_waiting()
            while self.n_questions > 0:
                self._drop_questions()
                self._step_waiting()
        except BaseException:
            self._failed = True
            raise
        return 0

    cdef void _drop_questions(self) noexcept:
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            self._endpoints[channel].waits = False
        self.n_questions = 0

    # Points _frames to the first waiting frame of every channel, in the rings or in `room` for all of them; returns the
    # position of its end.
    cdef pos_t _next_frame(self, sample_t *room) except -1 nogil:
        cdef Py_ssize_t frame_samples = self._frame_samples, channel
        cdef pos_t start_pos = self.received_pos - self._n_pending
        self._n_pending -= frame_samples
        for channel in range(self.channels):
            self._frames[channel] = (<SampleRing>self._rings[channel]).ring_view(
                start_pos, start_pos + frame_samples, room + channel * frame_samples
            )
        return start_pos + frame_samples

    # Steps the detector over the frames in _frames, which end at end_pos.
    cdef int _step_frame(self, pos_t end_pos) except -1 nogil:
        self.detector.step(self._frames, self._probabilities)
        return self._apply_probabilities(end_pos)

    # Runs the endpointing on the probabilities of that frame.
    cdef int _apply_probabilities(self, pos_t end_pos) except -1 nogil:
        cdef endpoint_event_t event
        cdef Py_ssize_t channel
        cdef endpoint_t *endpoint
        for channel in range(self.channels):
            endpoint = &self._endpoints[channel]
            endpoint_step(endpoint, &self.config.rules, self._probabilities[channel], end_pos)
            while endpoint_next(endpoint, &self.config.rules, &event):
                self._events.add(channel, &event, <SampleRing>self._rings[channel])
                self.n_questions += event.kind == ENDPOINT_QUESTION
            (<SampleRing>self._rings[channel]).ring_discard_before(endpoint_keep_pos(endpoint, &self.config.rules))
        return 0

    cdef int _close(self) except -1 nogil:
        cdef endpoint_event_t event
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            while endpoint_flush(&self._endpoints[channel], &self.config.rules, self.received_pos, &event):
                self._events.add(channel, &event, <SampleRing>self._rings[channel])
        return 0
