"""The end of a session: the meaning of the server's close."""

from __future__ import annotations

from typing import Final

from websockets.exceptions import ConnectionClosed

from voxgate.protocol.formats import AudioFormat

from .errors import ClosedError

__all__ = ["NO_CODE", "closed_error", "dropped_audio"]

NO_CODE: Final = 1005
"""An empty close frame, with which streamer-template ends every session."""
_WORDS: Final = {
    1001: "the server is going away",
    1008: "the session violated a rule of the server",
    1009: "a message was too large",
    1011: "the server failed",
    1012: "the server is restarting",
    1013: "the server is overloaded: try again later",
}


def closed_error(closed: ConnectionClosed, stop_sent: bool, sent_s: float) -> ClosedError | None:
    """None when the server closed normally after everything was sent."""
    if closed.rcvd is None:
        if closed.sent is not None:  # our side closed, because of an invalid message
            return ClosedError(f"this side closed the connection: {closed.sent.reason or closed.sent.code}")
        return ClosedError("the connection was lost: it ended without a close frame", lost=True)
    code, reason = closed.rcvd.code, closed.rcvd.reason
    if code in (1000, NO_CODE) and stop_sent:
        return None
    words = _WORDS.get(code)
    text = "the server closed " + ("without a code" if code == NO_CODE else f"with {code}")
    text += (f" ({words})" if words else "") + (f": {reason}" if reason else "")
    if not stop_sent:
        text += f", after {sent_s:.1f} s of audio and before the end of it"
    return ClosedError(text, code, reason)


def dropped_audio(format: AudioFormat, has_cut_a_sample: bool) -> str | None:
    """Why a server that closed without a code may have dropped audio; None when it had no reason to.

    streamer-template accepts s16 and f32, and silently drops a message that ends inside a sample. On a route where only
    speech has results, that looks like silence.
    """
    if format.pcm_encoding not in ("s16", "f32"):
        return f"the server closed without a code, as servers do that drop audio in {format.pcm_encoding}"
    if has_cut_a_sample:
        sample_bytes = format.frame_bytes // format.channels
        return (
            "the server closed without a code, as servers do that drop messages which end inside a sample: choose a"
            f" chunk size that is a multiple of {sample_bytes} bytes"
        )
    return None
