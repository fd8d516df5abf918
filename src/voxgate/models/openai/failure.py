"""A call of a transcription server that failed: what to tell whom, and whether another try may help."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from voxgate.models.openai.answers import error_text

__all__ = ["Failure", "failure_of", "retry_after_s"]

_LONGEST_TEXT = 200
_ABOUT_THE_CALL = (400, 413, 415, 422)
"""Statuses whose message is about the audio or the options of the client."""


class Failure(Exception):
    """`str()` is for the client: it names no address. Neither text contains the key."""

    def __init__(self, text: str, detail: str, *, again: bool = False, wait_s: float = 0.0, status: int = 0) -> None:
        """detail: for the operator, as words after the address of the server. again: another try may succeed, after
        `wait_s` seconds. status: of the answer; 0 when there was none.
        """
        super().__init__(text)
        self.detail = detail
        self.status = status
        self.again = again
        self.wait_s = wait_s


def failure_of(status: int, headers: Mapping[str, str], body: bytes, key: str | None, key_variable: str) -> Failure:
    """The failure behind an answer that is no success. key: the secret that must not appear in a text."""
    message, code = error_text(body)
    if key:  # before it is cut: a part of the key is a secret too
        message = message.replace(key, "***")
    message = message[:_LONGEST_TEXT]
    said = f": {message}" if message else ""
    text = f"The model server answered {status}"
    if status in _ABOUT_THE_CALL:
        return Failure(text + said, f"answered {status}{said}", status=status)
    if status in (401, 403):
        # The message of such an answer may quote the key.
        reason = f"refuses the key of {key_variable}" if key else f"expects a key, and {key_variable} is not set"
        return Failure(text, f"{reason} ({status})", status=status)
    if status == 404:
        detail = f"has no such path or model (404{said}); an address usually ends in /v1"
        return Failure(text, detail, status=status)
    if 300 <= status < 400:
        place = headers.get("location", "another place")[:_LONGEST_TEXT].partition("?")[0]
        detail = f"redirects to {place}: expected that address, because a key follows no redirect"
        return Failure(text, detail, status=status)
    # With no credit left, a later call is refused too.
    again = (status == 429 and code != "insufficient_quota") or status >= 500
    wait_s = retry_after_s(headers.get("retry-after"))
    return Failure(text, f"answered {status}{said}", again=again, wait_s=wait_s, status=status)


def retry_after_s(value: str | None) -> float:
    """The seconds of a `Retry-After` header: a number, or a date; 0 for anything else."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
