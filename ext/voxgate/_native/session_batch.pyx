"""One step of many VadSessions: the frames that wait in them, those of one network together."""

from libc.string cimport memcpy

from .session cimport MAX_BATCH_CHANNELS, VadSession
from .silero cimport VG_SILERO_FRAME, SileroDetector, SileroNetwork, vg_silero_state_t, vg_silero_step
from .types cimport sample_t

cdef enum:
    _FRAME_SAMPLES = 512

if _FRAME_SAMPLES != VG_SILERO_FRAME:
    raise AssertionError(f"expected frames of {_FRAME_SAMPLES} samples, not {VG_SILERO_FRAME}")

# For frames that are not float32 in their ring. One for all: between filling it and the step of the detector no Python
# code runs, so no other thread can come between. 128 KiB more on the stack would let a thread of a small one step over
# its guard page, and write into other memory.
cdef sample_t _room[MAX_BATCH_CHANNELS * _FRAME_SAMPLES]


def step_sessions(list sessions not None):
    """Step the detector over the frames that ``VadSession.take`` left in these sessions.

    Frames of one network are stepped together, so that the weights, which are most of the cost of a frame once they
    have left the core's cache, are loaded once for all of them.

    ``sessions``: VadSession, each once. Returns a list of (session, events), in their order, for the sessions that have
    events. The events are bit for bit those of a session that is stepped alone. When memory runs out for a session,
    its exception takes the place of its events: that session is then in the state of a failed ``feed``, and the others
    are not affected. RuntimeError, before anything has changed, when a session is in use; TypeError for anything else
    than a VadSession.

    The GIL is kept: live audio must not wait for a thread that computes in Python. A frame takes 3 to 16 us; the caller
    limits the number of sessions to the time that it has.
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
        waiting = _with_frames(sessions)
        while waiting:
            _step_one_frame(waiting, errors)
            waiting = _with_frames(waiting)
        for session in sessions:
            if session in errors:
                results.append((session, errors[session]))
            elif session._events.n_events > 0:
                results.append((session, session._events.take()))
    finally:
        for session in sessions:
            session._busy = False
    return results


cdef list _with_frames(list sessions):
    cdef VadSession session
    cdef list waiting = []
    for session in sessions:
        if (
            session._n_pending >= session._frame_samples and session.n_questions == 0 and not session._failed
        ):
            waiting.append(session)
    return waiting


# One frame of each session, in groups of one network and at most MAX_BATCH_CHANNELS channels.
cdef int _step_one_frame(list sessions, dict errors) except -1:
    cdef vg_silero_state_t *states[MAX_BATCH_CHANNELS]
    cdef const sample_t *frames[MAX_BATCH_CHANNELS]
    cdef float probabilities[MAX_BATCH_CHANNELS]
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
            if n + session.channels > MAX_BATCH_CHANNELS or detector.network is not network:
                break
            session._next_frame(_room + n * _FRAME_SAMPLES)
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
                session._apply_probabilities(session.received_pos - session._n_pending)
            except BaseException as error:
                session._failed = True
                errors[session] = error
        begin = end
    return 0
