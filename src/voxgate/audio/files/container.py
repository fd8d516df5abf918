"""The container of a file, recognised by its first bytes."""

from __future__ import annotations

from typing import Final

__all__ = ["SIGNATURE_BYTES", "container_of", "may_become_container"]

SIGNATURE_BYTES: Final = 12
"""The most bytes that `container_of` looks at."""

# MPEG audio without an ID3 tag begins with 11 set bits, but so may quiet s16 samples: it has no signature.
_SIGNATURES: Final = {
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "WAV",
    b"BW64": "WAV",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"FORM": "AIFF",
    b".snd": "AU",
    b"caff": "CAF",
    b"riff": "W64",
    b"\x1a\x45\xdf\xa3": "Matroska or WebM",
}


def container_of(head: bytes) -> str | None:
    """The container of a file that begins with `head`: "WAV", "FLAC", "Ogg", "MP3" and others; None for none known."""
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    return "MP4" if head[4:8] == b"ftyp" else None


def may_become_container(head: bytes) -> bool:
    """Whether `head` is too short to decide, and more bytes could make it the beginning of a known container."""
    return any(len(head) < len(signature) and signature.startswith(head) for signature in _SIGNATURES)
