"""What the first bytes of a stream look like."""

from __future__ import annotations

from typing import Final

from voxgate.audio.containers.base import Sniffed

__all__ = ["SNIFF_BYTES", "sniff"]

SNIFF_BYTES: Final = 4096
"""`sniff` needs no more."""

_MAGIC: Final[tuple[tuple[bytes, str | None, str], ...]] = (
    (b"\x1a\x45\xdf\xa3", "webm", "WebM or Matroska"),
    (b"OggS", "ogg", "Ogg"),
    (b"fLaC", "flac", "FLAC"),
    (b"RF64", "wav", "WAV"),
    (b"BW64", "wav", "WAV"),
    (b"\xff\xd8\xff", None, "a JPEG image"),
    (b"\x89PNG\r\n", None, "a PNG image"),
    (b"GIF8", None, "a GIF image"),
    (b"%PDF-", None, "a PDF document"),
    (b"PK\x03\x04", None, "a ZIP archive or an office document"),
    (b"\x1f\x8b\x08", None, "a gzip file"),
    (b"7z\xbc\xaf\x27\x1c", None, "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", None, "a Zstandard file"),
    (b"#EXTM3U", None, "a playlist"),
    (b"[playlist]", None, "a playlist"),
    (b"ffconcat", None, "a playlist of FFmpeg"),
    (b"<!DOCTYPE", None, "an HTML or XML document"),
    (b"<html", None, "an HTML document"),
    (b"<?xml", None, "an XML document"),
    (b"#!AMR", None, "AMR"),
    (b"FLV\x01", None, "Flash video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", None, "Windows Media (ASF, WMA)"),
    (b"caff", None, "Core Audio (CAF)"),
    (b".snd", None, "AU"),
    (b"wvpk", None, "WavPack"),
    (b"MAC ", None, "Monkey's Audio"),
    (b"riff\x2e\x91\xcf\x11", None, "Wave64"),
    (b"MThd", None, "MIDI"),
    (b"\x7fELF", None, "a program"),
)
_RIFF: Final[dict[bytes, tuple[str | None, str]]] = {
    b"WAVE": ("wav", "WAV"),
    b"AVI ": (None, "AVI video"),
    b"WEBP": (None, "a WebP image"),
}
# Brands of the "ftyp" box that hold no audio.
_IMAGES: Final = (b"avif", b"avis", b"heic", b"heix", b"mif1")
# Boxes that an MP4 without "ftyp" begins with: QuickTime, and segments of a live stream.
_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"styp", b"moof", b"sidx", b"free", b"skip", b"wide", b"pnot")
_LONGEST_MAGIC: Final = max(12, *(len(magic) for magic, _, _ in _MAGIC))  # 12: RIFF, its size, and what it is
_ADTS_RATES: Final = 13

_MPEG_RATES: Final = ((11_025, 12_000, 8_000), None, (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))
# In kb/s: MPEG-1 layers 1 to 3, MPEG-2 layer 1, MPEG-2 layers 2 and 3.
_MPEG_KBITS: Final = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def sniff(head: bytes, is_all: bool = False) -> Sniffed | None:
    """What a stream that begins with `head` appears to be.

    None: more bytes are needed. Never None from SNIFF_BYTES on, nor when no more bytes follow (`is_all`).
    """
    head = head[:SNIFF_BYTES]
    is_all = is_all or len(head) == SNIFF_BYTES
    upper = head[:_LONGEST_MAGIC].upper()
    for magic, container, label in _MAGIC:
        if head.startswith(magic) or (magic[:1] == b"<" and upper.startswith(magic.upper())):
            return Sniffed(container, label)
    if len(head) < _LONGEST_MAGIC and not is_all:
        return None
    if head[:4] in (b"RIFF", b"RIFX"):
        return Sniffed(*_RIFF.get(head[8:12], (None, "a RIFF file that is no WAVE")))
    if head[:4] == b"FORM":
        return Sniffed(None, "AIFF")
    if head[4:8] in _BOXES:
        if head[4:8] == b"ftyp" and head[8:12] in _IMAGES:
            return Sniffed(None, "an AVIF or HEIC image")
        if head[4:8] == b"ftyp":
            return Sniffed("mp4", "QuickTime" if head[8:12] == b"qt  " else "MP4")
        return Sniffed("mp4", "MP4 or QuickTime")
    if head.startswith(b"ID3"):
        return _behind_id3(head, is_all)
    if head[:1] == b"\x47" and head[188:189] == b"\x47" and head[376:377] == b"\x47":
        return Sniffed(None, "an MPEG transport stream")
    return _frames(head, is_all) or (None if _may_be_frames(head, is_all) else _other(head))


def _behind_id3(head: bytes, is_all: bool) -> Sniffed | None:
    """What follows a tag: MP3, or rarely something else."""
    if len(head) < 10:
        return Sniffed("mp3", "MP3") if is_all else None
    end = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    behind = head[end : end + 4]
    if len(behind) < 4 and not is_all:
        return None
    if behind == b"fLaC":
        return Sniffed("flac", "FLAC")
    if len(behind) == 4 and behind[0] == 0xFF and behind[1] & 0xF6 == 0xF0:
        return Sniffed("aac", "AAC (ADTS)")
    return Sniffed("mp3", "MP3")


def _frames(head: bytes, is_all: bool) -> Sniffed | None:
    """MPEG audio or AAC without a tag: two heads of frames, one behind the other."""
    size = _mpeg_bytes(head)
    if size is not None:
        second = _mpeg_bytes(head[size : size + 4])
        if second is not None or (is_all and len(head) <= size + 3 and len(head) >= min(size, 64)):
            return Sniffed("mp3", "MP3")
    size = _adts_bytes(head)
    if size is not None and (_adts_bytes(head[size : size + 7]) is not None or (is_all and len(head) == size)):
        return Sniffed("aac", "AAC (ADTS)")
    return None


def _may_be_frames(head: bytes, is_all: bool) -> bool:
    """Whether more bytes are needed to see a second frame."""
    if is_all:
        return False
    return any(
        size is not None and len(head) < size + n for size, n in ((_mpeg_bytes(head), 4), (_adts_bytes(head), 7))
    )


def _mpeg_bytes(head: bytes) -> int | None:
    """The length of the MPEG audio frame that begins here; None: there is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rates, bits, rate = _MPEG_RATES[version], head[2] >> 4, head[2] >> 2 & 3
    if rates is None or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    kbits, hz, padding = _MPEG_KBITS[version == 3, layer][bits - 1], rates[rate], head[2] >> 1 & 1
    if layer == 1:
        return (12_000 * kbits // hz + padding) * 4
    return (144_000 if layer == 2 or version == 3 else 72_000) * kbits // hz + padding


def _adts_bytes(head: bytes) -> int | None:
    """The length of the ADTS frame that begins here; None: there is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= _ADTS_RATES:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= 7 else None


def _other(head: bytes) -> Sniffed:
    if not head:
        return Sniffed(None, "nothing")
    text = head[:64]
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in text):
        return Sniffed(None, "JSON" if text.lstrip()[:1] in (b"{", b"[") else "text")
    if not any(head[:64]):
        return Sniffed(None, "zeros: raw PCM, or an unknown format")
    return Sniffed(None, "raw PCM or an unknown format")
