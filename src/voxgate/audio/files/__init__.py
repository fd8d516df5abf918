"""Sound files, from disks and pipes, in blocks. The length that a header claims is checked against the content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgate.audio.files.container import container_of, may_become_container
from voxgate.audio.files.errors import SoundFileError

if TYPE_CHECKING:
    from voxgate.audio.files.reader import SoundFile, open_sound_file

__all__ = ["SoundFile", "SoundFileError", "container_of", "may_become_container", "open_sound_file"]


def __getattr__(name: str) -> Any:
    # NumPy and soundfile are slow to import, and a client that sends raw PCM needs neither.
    if name not in ("SoundFile", "open_sound_file"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from voxgate.audio.files import reader

    return getattr(reader, name)
