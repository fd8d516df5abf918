"""The end of a session: what the server's close says, and what it leaves open."""

from __future__ import annotations

from typing import Final

from websockets.exceptions import ConnectionClosed

from voxgate.protocol.formats import AudioFormat

from .errors import ClosedError

__all__ = ["NO_CODE", "closed_error", "unheard"]

NO_CODE: Final = 1005
"""An empty close frame: streamer-template ends every session so."""
_WORDS: Final = {
    1001: "the server goes away",
    1008: "it broke the rules of the server",
    1009: "a message was too large",
    1011: "the server failed",
    1012: "the server restarts",
    1013: "the server is overloaded: try again later",
}


def closed_error(closed: ConnectionClosed, stop_sent: bool, sent_s: float) -> ClosedError | None:
    """None when the server ended in good order after everything was sent."""
    if closed.rcvd is None:
        if closed.sent is not None:  # we failed the connection, because of what the server sent
            return ClosedError(f"the connection was given up: {closed.sent.reason or closed.sent.code}")
        return ClosedError("the connection was lost: the server went away without closing it", lost=True)
    code, reason = closed.rcvd.code, closed.rcvd.reason
    if code in (1000, NO_CODE) and stop_sent:
        return None
    words = _WORDS.get(code)
    text = "the server closed " + ("without a code" if code == NO_CODE else f"with {code}")
    text += (f" ({words})" if words else "") + (f": {reason}" if reason else "")
    if not stop_sent:
        text += f", after {sent_s:.1f} s of audio and before the end of it"
    return ClosedError(text, code, reason)


def unheard(format: AudioFormat, has_cut_a_sample: bool) -> str | None:
    """Why a server that ended without a code may have dropped audio, None if it has no reason to.

    streamer-template takes s16 and f32, and drops a message that ends inside a sample, without a word. Where only
    speech has results, that looks like silence.
    """
    if format.pcm_encoding not in ("s16", "f32"):
        return f"the server ended without a close code, as those do that drop audio in {format.pcm_encoding}"
    if has_cut_a_sample:
        sample_bytes = format.frame_bytes // format.channels
        return (
            "the server ended without a close code, as those do that drop messages which end inside a sample: choose a"
            f" chunk size that is a multiple of {sample_bytes} bytes"
        )
    return None
