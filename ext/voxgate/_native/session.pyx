"""VadSession: detector, endpointing and a sample ring per channel, composed. Audio of any length in, speech events
out."""

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.string cimport memcpy, memset

cimport numpy as cnp

from .endpoint cimport (
    ENDPOINT_INTERIM,
    ENDPOINT_SPEECH_CUT,
    ENDPOINT_SPEECH_END,
    ENDPOINT_SPEECH_START,
    endpoint_flush,
    endpoint_keep_pos,
    endpoint_next,
    endpoint_speaking,
    endpoint_step,
)
from .silero cimport SileroDetector, SileroNetwork, vg_silero_state_t, vg_silero_step

import numpy as np

cnp.import_array()

SPEECH_START = ENDPOINT_SPEECH_START
SPEECH_END = ENDPOINT_SPEECH_END
SPEECH_CUT = ENDPOINT_SPEECH_CUT
INTERIM = ENDPOINT_INTERIM

cdef tuple _KIND_NAMES = ("?", "SPEECH_START", "SPEECH_END", "SPEECH_CUT", "INTERIM")

# A call releases the GIL when it runs frames of this many samples in all (channels together) or more. Live chunks stay
# below: giving the GIL away for the 20 us of a frame costs up to a switch interval (5 ms) to get it back when another
# thread computes in Python.
cdef Py_ssize_t _NOGIL_SAMPLES = 8192

# A session keeps at most this many frames for `hear`: 256 ms of Silero's.
cdef Py_ssize_t _MAX_WAITING = 8

# Channels that `hear` steps together: of more, none would be cheaper.
cdef enum:
    _TOGETHER = 64

# Room for this many events stays allocated between calls; a whole file in one call may need far more.
cdef Py_ssize_t _KEPT_EVENTS = 64


@cython.final
cdef class VadEvent:
    """What happened in a channel.

    ``kind``: SPEECH_START, SPEECH_END, SPEECH_CUT or INTERIM. ``channel``: 0-based. ``start_pos``, ``end_pos``: samples
    since the start of the session at the detector's rate; of SPEECH_START, ``start_pos`` is where the segment starts
    and ``end_pos`` where that was decided. ``audio``: of SPEECH_END and SPEECH_CUT, the segment [start_pos, end_pos),
    float32, shape (samples,), the event's own; None if it is empty, and for the other kinds. Immutable; any thread.
    """

    def __init__(self, int kind, Py_ssize_t channel, start_pos, end_pos, audio=None):
        self.kind = kind
        self.channel = channel
        self.start_pos = start_pos
        self.end_pos = end_pos
        self.audio = audio

    def __reduce__(self):
        return VadEvent, (self.kind, self.channel, self.start_pos, self.end_pos, self.audio)

    def __repr__(self):
        name = _KIND_NAMES[self.kind] if 0 < self.kind < 5 else str(self.kind)
        return f"VadEvent({name}, channel={self.channel}, start_pos={self.start_pos}, end_pos={self.end_pos})"


@cython.final
cdef class _Samples:
    """Owner of the memory that a NumPy array looks at."""

    cdef sample_t *data

    def __reduce__(self):
        raise TypeError("memory of a segment cannot be pickled")

    def __dealloc__(self):
        PyMem_RawFree(self.data)


@cython.final
cdef class VadSession:
    """The speech of all channels of one client session: feed audio, get events.

    ``detector``: one that nobody else steps, in the state of a new stream; its ``channels`` are the session's.
    ``config``: its ``frame_samples`` must be the detector's (ValueError). The rules of segments stand in ``endpoint``.

    Chunking is invisible: the same audio cut in any way gives the same events with the same audio. Events come in audio
    order; those of one frame in the order of the channels. Memory stays bounded: a channel holds what an open or a
    later segment may begin with, less than ``prefix + min_speech + max_segment`` and two frames, and returns it.

    When the detector raises (only one written in Python does) or memory runs out, the exception passes out of ``feed``.
    What had been heard before that frame stands: ``flush`` and ``finish`` still hand out its events and close open
    segments at ``received_pos``, which then lies behind the frame that failed; the rest of the chunk is not taken.
    ``feed`` is refused with RuntimeError until ``reset``.

    Threads: one caller at a time; a second one that comes while the first runs, also the session's own detector, gets a
    RuntimeError. The GIL is released for calls with work worth it.
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
        self._may_wait = type(detector) is SileroDetector and channels <= _TOGETHER
        self._rings = <void **>PyMem_RawCalloc(channels, sizeof(void *))
        self._endpoints = <endpoint_t *>PyMem_RawCalloc(channels, sizeof(endpoint_t))
        self._probabilities = <float *>PyMem_RawCalloc(channels, sizeof(float))
        self._frames = <const sample_t **>PyMem_RawCalloc(channels, sizeof(sample_t *))
        if self._rings == NULL or self._endpoints == NULL or self._probabilities == NULL or self._frames == NULL:
            raise MemoryError
        self._new_rings()

    def __dealloc__(self):
        self._drop_events()
        PyMem_RawFree(self._events)
        PyMem_RawFree(self._rings)
        PyMem_RawFree(self._endpoints)
        PyMem_RawFree(self._probabilities)
        PyMem_RawFree(<void *>self._frames)

    def __reduce__(self):
        raise TypeError("a VadSession belongs to one stream and cannot be pickled or copied")

    def feed(self, planes):
        """Take audio; returns the events it completes, a list of VadEvent.

        ``planes``: float32, shape (channels, n), any n, -1..1, at the detector's rate; it is not kept, and must not be
        written to meanwhile. TypeError for another dtype or none, ValueError for another shape; RuntimeError after
        ``finish`` or a failure, and when in use.
        """
        self._enter()
        try:
            return self._feed(planes)
        finally:
            self._busy = False

    def take(self, planes):
        """Take audio as ``feed`` does, but leave the frames that it completes to ``hear``, as long as they are few (8).

        Returns True when there is something for ``hear``: frames, or events of more frames than may wait, which were
        looked at here. It is not lost on a caller who never comes to that: ``feed``, ``flush`` and ``finish`` look at
        those frames first. Until then, ``speaking`` and ``last_probability`` do not know of them. Only frames of a
        SileroDetector wait; with another, this hears at once. Errors as ``feed``.
        """
        self._enter()
        try:
            self._take(planes, self._may_wait)
            return self._n_events > 0 or self._n_unheard >= self.config.frame_samples
        finally:
            self._busy = False

    cdef list _feed(self, object planes):
        self._take(planes, False)
        return self._objects()

    cdef bint take_planes(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1:
        self._enter()
        try:
            self._take_samples(planes, channel_stride, n, self._may_wait)
            return self._n_events > 0 or self._n_unheard >= self.config.frame_samples
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
        cdef Py_ssize_t work = (self._n_unheard + n) // self.config.frame_samples * self.config.frame_samples
        try:
            if may_wait and work <= _MAX_WAITING * self.config.frame_samples:
                self._push(samples, channel_stride, n)
            elif work * self.channels >= _NOGIL_SAMPLES:
                with nogil:
                    self._run(samples, channel_stride, n)
            else:
                self._run(samples, channel_stride, n)
        except BaseException:
            self._failed = True
            raise
        return 0

    def flush(self):
        """Close the segments that are open, at ``received_pos`` (endpoint rule 7); the stream goes on. Returns the
        events.

        RuntimeError when in use. After ``finish`` it returns an empty list.
        """
        self._enter()
        try:
            if not self._failed:
                self._catch_up()
            self._close()
            return self._objects()
        finally:
            self._busy = False

    def finish(self):
        """End the stream: the last partial frame is filled up with zeros and looked at, open segments are closed.
        Returns the events.

        No event lies beyond ``received_pos``. A second call returns an empty list. RuntimeError when in use. When the
        detector raises, the exception passes out, and the next ``finish`` closes the segments without it.
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
        n_partial = self._n_unheard
        if not self._finished and not self._failed and n_partial > 0:
            padded = np.zeros((self.channels, self.config.frame_samples), dtype=np.float32)
            for channel in range(self.channels):
                plane = <sample_t *>cnp.PyArray_DATA(padded) + channel * self.config.frame_samples
                self._ring(channel).ring_read(self.received_pos - n_partial, self.received_pos, plane)
                self._frames[channel] = plane
            self._n_unheard = 0
            try:
                self._frame(self.received_pos)
            except BaseException:
                self._failed = True
                raise
        self._finished = True
        self._close()
        return self._objects()

    def reset(self):
        """Begin a new stream at 0, with a detector that has heard nothing. RuntimeError when in use.

        When the detector raises, the exception passes out, and ``feed`` is refused until a ``reset`` that succeeds.
        """
        self._enter()
        try:
            self._failed = True
            self._finished = False
            self._drop_events()
            memset(self._endpoints, 0, self.channels * sizeof(endpoint_t))
            memset(self._probabilities, 0, self.channels * sizeof(float))
            self._n_unheard = 0
            self.received_pos = 0
            self._new_rings()
            self.detector.reset_state()
            self._failed = False
        finally:
            self._busy = False

    def read(self, Py_ssize_t channel, start_pos, end_pos):
        """A copy of the audio [start_pos, end_pos) of a channel: float32, shape (samples,).

        Meant for the interims of an open segment: any range from its start to ``received_pos`` is there while it is
        open. An INTERIM followed, in the same list, by the SPEECH_END or SPEECH_CUT of its channel is superseded, and
        its audio may be gone: IndexError, as for a channel that does not exist. RuntimeError when in use.
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
        """Of the channel's last whole frame; 0.0 before the first. IndexError for a channel that does not exist."""
        self._ring(channel)
        return self._probabilities[channel]

    @property
    def nbytes(self):
        """Memory in use for audio and state, without the detector's."""
        cdef Py_ssize_t per_channel = (
            sizeof(endpoint_t) + sizeof(float) + sizeof(void *) + sizeof(sample_t *)
        )
        return (
            sum(ring.nbytes for ring in self._ring_objects)
            + self.channels * per_channel
            + self._events_capacity * sizeof(session_event_t)
        )

    cdef int _new_rings(self) except -1:
        cdef EndpointConfig config = self.config
        cdef Py_ssize_t channel
        # What an open segment holds when it is longest, before it is cut at the end of a frame, a partial frame behind
        # it, and what waits for `hear`.
        capacity = (
            config.rules.prefix_samples + config.rules.min_speech_samples + config.rules.max_segment_samples
            + 2 * config.frame_samples
        )
        if self._may_wait:
            capacity += _MAX_WAITING * config.frame_samples
        self._ring_objects = [SampleRing(capacity) for _ in range(self.channels)]
        for channel in range(self.channels):
            self._rings[channel] = <void *><object>self._ring_objects[channel]
        return 0

    cdef SampleRing _ring(self, Py_ssize_t channel):
        if not 0 <= channel < self.channels:
            raise IndexError(f"channel must be within 0..{self.channels - 1}, got {channel}")
        return self._ring_objects[channel]

    cdef void _drop_events(self) noexcept:
        cdef Py_ssize_t index
        for index in range(self._n_events):
            PyMem_RawFree(self._events[index].audio)
        self._n_events = 0

    # Until the call is over, not only while it works without the GIL: NumPy lets the GIL go when it copies, and what
    # is allocated may start the garbage collector, hence code of anybody.
    cdef int _enter(self) except -1:
        if self._busy:
            raise RuntimeError("this VadSession is in use: one caller at a time")
        self._busy = True
        return 0

    # In steps that end where a frame ends. A frame is looked at in the ring: there it lies in one piece, however it
    # came.
    cdef int _run(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil:
        cdef Py_ssize_t frame_samples = self.config.frame_samples, done = 0, part
        self._hear_waiting()
        while done < n:
            part = frame_samples - self._n_unheard
            if part > n - done:
                part = n - done
            self._push(planes + done, channel_stride, part)
            done += part
            self._hear_waiting()
        return 0

    cdef int _push(self, const sample_t *planes, Py_ssize_t channel_stride, Py_ssize_t n) except -1 nogil:
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            (<SampleRing>self._rings[channel]).ring_push(planes + channel * channel_stride, n)
        self._n_unheard += n
        self.received_pos += n
        return 0

    cdef int _hear_waiting(self) except -1 nogil:
        cdef pos_t end_pos
        while self._n_unheard >= self.config.frame_samples:
            end_pos = self._next_frame()
            self._frame(end_pos)
        return 0

    # The same from outside of `feed`: an exception ends the stream there, too.
    cdef int _catch_up(self) except -1:
        try:
            self._hear_waiting()
        except BaseException:
            self._failed = True
            raise
        return 0

    # Lets _frames point to the first frame of every channel that waits; returns where it ends.
    cdef pos_t _next_frame(self) except -1 nogil:
        cdef Py_ssize_t frame_samples = self.config.frame_samples, channel
        cdef pos_t start_pos = self.received_pos - self._n_unheard
        self._n_unheard -= frame_samples
        for channel in range(self.channels):
            self._frames[channel] = (<SampleRing>self._rings[channel]).ring_view(start_pos, start_pos + frame_samples)
        return start_pos + frame_samples

    # The frame of every channel that _frames points to ends at end_pos.
    cdef int _frame(self, pos_t end_pos) except -1 nogil:
        self.detector.step(self._frames, self._probabilities)
        return self._judge(end_pos)

    # What follows from the probabilities of that frame.
    cdef int _judge(self, pos_t end_pos) except -1 nogil:
        cdef endpoint_event_t event
        cdef Py_ssize_t channel
        cdef endpoint_t *endpoint
        for channel in range(self.channels):
            endpoint = &self._endpoints[channel]
            endpoint_step(endpoint, &self.config.rules, self._probabilities[channel], end_pos)
            while endpoint_next(endpoint, &self.config.rules, &event):
                self._collect(channel, &event)
            (<SampleRing>self._rings[channel]).ring_discard_before(endpoint_keep_pos(endpoint, &self.config.rules))
        return 0

    cdef int _close(self) except -1 nogil:
        cdef endpoint_event_t event
        cdef Py_ssize_t channel
        for channel in range(self.channels):
            while endpoint_flush(&self._endpoints[channel], &self.config.rules, self.received_pos, &event):
                self._collect(channel, &event)
        return 0

    # The audio of a segment is copied here, before the ring forgets it.
    cdef int _collect(self, Py_ssize_t channel, const endpoint_event_t *event) except -1 nogil:
        cdef session_event_t *slot
        cdef Py_ssize_t capacity
        if self._n_events == self._events_capacity:
            capacity = 2 * self._events_capacity if self._events_capacity > 0 else 8
            slot = <session_event_t *>PyMem_RawRealloc(self._events, capacity * sizeof(session_event_t))
            if slot == NULL:
                with gil:
                    raise MemoryError
            self._events = slot
            self._events_capacity = capacity
        slot = &self._events[self._n_events]
        slot.kind = event.kind
        slot.channel = channel
        slot.start_pos = event.start_pos
        slot.end_pos = event.end_pos
        slot.audio = NULL
        self._n_events += 1
        if event.end_pos > event.start_pos and event.kind in (ENDPOINT_SPEECH_END, ENDPOINT_SPEECH_CUT):
            slot.audio = <sample_t *>PyMem_RawMalloc((event.end_pos - event.start_pos) * sizeof(sample_t))
            if slot.audio == NULL:
                with gil:
                    raise MemoryError(f"no memory for a segment of {event.end_pos - event.start_pos} samples")
            (<SampleRing>self._rings[channel]).ring_read(event.start_pos, event.end_pos, slot.audio)
        return 0

    cdef list _objects(self):
        cdef session_event_t *slot
        cdef Py_ssize_t index
        cdef cnp.npy_intp n
        cdef VadEvent event
        cdef _Samples owner
        cdef list events = []
        for index in range(self._n_events):
            slot = &self._events[index]
            event = VadEvent.__new__(VadEvent)
            event.kind = slot.kind
            event.channel = slot.channel
            event.start_pos = slot.start_pos
            event.end_pos = slot.end_pos
            if slot.audio != NULL:
                n = slot.end_pos - slot.start_pos
                owner = _Samples.__new__(_Samples)
                owner.data = slot.audio
                slot.audio = NULL
                event.audio = cnp.PyArray_SimpleNewFromData(1, &n, cnp.NPY_FLOAT32, owner.data)
                cnp.set_array_base(event.audio, owner)
            events.append(event)
        self._n_events = 0
        if self._events_capacity > _KEPT_EVENTS:
            PyMem_RawFree(self._events)
            self._events = NULL
            self._events_capacity = 0
        return events


def hear(list sessions not None):
    """Look at the frames that ``take`` left in these sessions, those of one network together: its weights, which are
    most of what a frame costs once they have to come from beyond the core's cache, are fetched once for all of them.

    ``sessions``: VadSession, each once. Returns a list of (session, events) of those that have events, in their order.
    A session's events are, to the last bit, those that it would have alone. When memory runs out for one, its exception
    stands there in place of the events, that session is as after a failed ``feed``, and the others do not notice.
    RuntimeError, before anything has changed, when one is in use, TypeError when it is something else.

    The GIL is kept: live audio must not wait for a thread that computes in Python. A frame takes 3 to 16 us, so the
    caller gives as many sessions as it has time for.
    """
    cdef VadSession session
    cdef list waiting, results = []
    cdef dict errors = {}
    for session in sessions:
        if session is None:
            raise TypeError("sessions must be VadSession, got None")
        if session._busy:
            raise RuntimeError("this VadSession is in use: one caller at a time")
    for session in sessions:
        session._busy = True
    try:
        waiting = _that_wait(sessions)
        while waiting:
            _hear_a_frame(waiting, errors)
            waiting = _that_wait(waiting)
        for session in sessions:
            if session in errors:
                results.append((session, errors[session]))
            elif session._n_events > 0:
                results.append((session, session._objects()))
    finally:
        for session in sessions:
            session._busy = False
    return results


cdef list _that_wait(list sessions):
    cdef VadSession session
    cdef list waiting = []
    for session in sessions:
        if session._n_unheard >= session.config.frame_samples and not session._failed:
            waiting.append(session)
    return waiting


# One frame of each session, as many at a time as go together.
cdef int _hear_a_frame(list sessions, dict errors) except -1:
    cdef vg_silero_state_t *states[_TOGETHER]
    cdef const sample_t *frames[_TOGETHER]
    cdef float probabilities[_TOGETHER]
    cdef SileroNetwork network
    cdef SileroDetector detector
    cdef VadSession session
    cdef Py_ssize_t begin = 0, end, n, channel
    while begin < len(sessions):
        network = (<SileroDetector>(<VadSession>sessions[begin]).detector).network
        n, end = 0, begin
        while end < len(sessions):
            session = sessions[end]
            detector = <SileroDetector>session.detector
            if n + session.channels > _TOGETHER or detector.network is not network:
                break
            session._next_frame()
            for channel in range(session.channels):
                states[n] = detector.states[channel]
                frames[n] = session._frames[channel]
                n += 1
            end += 1
        vg_silero_step(network.function, &network.net, n, states, frames, probabilities)
        n = 0
        for index in range(begin, end):
            session = sessions[index]
            memcpy(session._probabilities, probabilities + n, session.channels * sizeof(float))
            n += session.channels
            try:
                session._judge(session.received_pos - session._n_unheard)
            except BaseException as error:
                session._failed = True
                errors[session] = error
        begin = end
    return 0
