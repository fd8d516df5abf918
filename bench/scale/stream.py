"""A client and its stream: it connects, speaks and pauses, gets finals, and comes back when its connection is lost.

Speech is a row of spurts and pauses (talk.py). A pause of `silence_s` ends an utterance; after `speculate_s` of it the
model is called for the final that comes if the silence goes on. While there is no edge, the client keeps its audio, and
sends it as soon as it has one.
"""

from __future__ import annotations

from . import calls, heap
from . import edge as edges
from .answers import REFUSED, settle
from .cell import AWAY, CLOSING, GONE, LIVE, WAITS
from .compiled import jit

SPEAKS, PAUSES, GUESSED = range(3)
"""A phase. GUESSED: a pause that was long enough for speculation."""
NEVER = 1e18
RETRY_S = (4, 9)


# --- the connection ---


@jit
def noise(w):
    now = w.now[0]
    now.noise += 1
    return w.uniform[now.noise % len(w.uniform)]


@jit
def connect(w, s):
    """A client asks for a place: for the first time, or again."""
    stream = w.streams[s]
    e = edges.least_connections(w)
    if e >= 0 and edges.admits(w, e):
        settled(w, s, e)
        return
    w.counts[0].refusals += 1
    asked_s = 0.0 if e < 0 else RETRY_S[0] + int(noise(w) * (RETRY_S[1] - RETRY_S[0] + 1))
    if stream.attempt >= w.rules[0].attempts:
        give_up(w, s)
    else:
        come_back(w, s, asked_s, 0.0)


@jit
def come_back(w, s, asked_s, notice_s):
    """The next attempt, after the wait of the real client (voxgate/client/reconnect.py)."""
    rules, stream = w.rules[0], w.streams[s]
    stream.attempt += 1
    wait_s = min(rules.longest_wait_s, rules.first_wait_s * 2.0 ** (stream.attempt - 1)) * (0.5 + 0.5 * noise(w))
    heap.push(w, w.now[0].at_s + notice_s + max(asked_s, wait_s), heap.CONNECT, s, 0)


@jit
def give_up(w, s):
    stream = w.streams[s]
    w.counts[0].gave_up += 1
    while stream.owed >= 0:
        j = stream.owed
        stream.owed = w.jobs[j].next
        settle(w, j, REFUSED)
    edges.leave(w, s, GONE)


@jit
def settled(w, s, e):
    """The client has a place on edge `e`."""
    now, stream = w.now[0], w.streams[s]
    is_new = stream.state == WAITS
    if stream.state == AWAY:
        now.n_away -= 1
    edges.enter(w, s, e)
    stream.attempt = 0
    if is_new:
        stream.until_s = now.at_s + stream.length_s
        join(w, s)
        return
    while stream.owed >= 0:
        j = stream.owed
        stream.owed = w.jobs[j].next
        calls.submit(w, s, j)
    if now.at_s >= stream.until_s:
        close(w, s)


@jit
def close(w, s):
    """Everything was said."""
    stream = w.streams[s]
    if stream.n_pending == 0:
        edges.leave(w, s, GONE)
    elif stream.state == LIVE:
        stream.state = CLOSING


@jit
def lose_edge(w, s, notice_s):
    """The stream is away until the client has come back."""
    w.counts[0].lost += 1
    calls.drop_guess(w, s)
    calls.drop_interim(w, s)
    edges.leave(w, s, AWAY)
    come_back(w, s, 0.0, notice_s)


# --- speech ---


@jit
def join(w, s):
    """A new stream begins at a random moment of a pause and the spurt after it."""
    now, stream = w.now[0], w.streams[s]
    pause_s, spurt_s = w.off_s[(stream.spurt - 1) % len(w.off_s)], w.on_s[stream.spurt % len(w.on_s)]
    passed_s = noise(w) * (pause_s + spurt_s)
    open_utterance(w, s, now.at_s + max(0.0, pause_s - passed_s))
    spurt(w, s, stream.open_s, spurt_s - max(0.0, passed_s - pause_s))


@jit
def begin(w, s, start_s):
    """The next utterance begins at `start_s`, which may be later than now."""
    open_utterance(w, s, start_s)
    go_on(w, s, start_s)


@jit
def open_utterance(w, s, start_s):
    stream, interim_s = w.streams[s], w.rules[0].interim_s
    stream.open_s = start_s
    stream.tick_s = start_s + interim_s if interim_s > 0 else NEVER


@jit
def go_on(w, s, start_s):
    """With the next spurt."""
    spurt(w, s, start_s, w.on_s[w.streams[s].spurt % len(w.on_s)])


@jit
def spurt(w, s, start_s, length_s):
    stream = w.streams[s]
    stream.phase = SPEAKS
    stream.spurt_end_s = start_s + length_s
    follow(w, s, min(stream.spurt_end_s, stream.tick_s))


@jit
def follow(w, s, at_s):
    stream = w.streams[s]
    heap.push(w, max(w.now[0].at_s, min(at_s, stream.until_s)), heap.TALK, s, stream.stamp)


@jit
def talk(w, s):
    """The stream goes on: a pause, an interim, a speculative call, the end of an utterance, or that of the stream."""
    now, rules, stream = w.now[0], w.rules[0], w.streams[s]
    at_s = now.at_s
    if at_s >= stream.until_s:
        if stream.open_s < at_s:
            calls.end_utterance(w, s, at_s if stream.phase == SPEAKS else stream.spurt_end_s)
        close(w, s)
        return
    silent_s = stream.spurt_end_s + rules.silence_s
    if stream.phase == SPEAKS:
        if at_s >= stream.spurt_end_s:
            stream.resume_s = stream.spurt_end_s + w.off_s[stream.spurt % len(w.off_s)]
            stream.spurt += 1
            stream.phase = PAUSES
            guess_s = stream.spurt_end_s + rules.speculate_s
            is_early = 0 < rules.speculate_s < rules.silence_s
            follow(w, s, min(stream.resume_s, guess_s if is_early else silent_s))
        else:
            calls.ask_interim(w, s)
            stream.tick_s = at_s + rules.interim_s
            follow(w, s, min(stream.spurt_end_s, stream.tick_s))
    elif at_s >= stream.resume_s and stream.resume_s <= silent_s:
        calls.drop_guess(w, s)
        go_on(w, s, stream.resume_s)
    elif at_s >= silent_s:
        calls.end_utterance(w, s, stream.spurt_end_s)
        if stream.state != GONE:
            begin(w, s, stream.resume_s)
    else:
        stream.phase = GUESSED
        calls.speculate(w, s)
        follow(w, s, min(stream.resume_s, silent_s))
