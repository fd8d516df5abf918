"""The errors of the compiled demuxers as MediaErrors."""

from __future__ import annotations

from typing import Final

from voxgate.audio.containers.base import BrokenMedia, MediaError, MediaLimit, UnsupportedMedia

__all__ = ["raise_error"]

_CLASSES: Final[dict[str, type[MediaError]]] = {
    "broken": BrokenMedia,
    "unsupported": UnsupportedMedia,
    "limit": MediaLimit,
}


def raise_error(error: tuple[str, str] | None) -> None:
    """Raises the MediaError of an ``error`` of a demuxer, (kind, text), unless it is None."""
    if error is not None:
        kind, text = error
        raise _CLASSES[kind](text)
