"""The error of sound files."""

from __future__ import annotations

from voxgate.errors import VoxgateError

__all__ = ["SoundFileError"]


class SoundFileError(VoxgateError, ValueError):
    """The content is not readable audio, or ends early; the text says up to where it is readable."""
