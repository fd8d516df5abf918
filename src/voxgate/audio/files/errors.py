"""What can be wrong with a sound file."""

from __future__ import annotations

from voxgate.errors import VoxgateError

__all__ = ["SoundFileError"]


class SoundFileError(VoxgateError, ValueError):
    """The content is not audio that can be read, or stops before its end; the text says how far it can be read."""
