from voxgate.audio.containers.base import Sniffed

SNIFF_BYTES = 64


def sniff(head, is_all=False):
    if len(head) < 12 and not is_all:
        return None
    for magic, c, l in (
        (b"RIFF", "wav", "WAV"),
        (b"fLaC", "flac", "FLAC"),
        (b"OggS", "ogg", "Ogg"),
        (b"ID3", "mp3", "MP3"),
        (b"\x1a\x45\xdf\xa3", "webm", "WebM"),
        (b"#EXTM3U", None, "a playlist"),
    ):
        if head.startswith(magic):
            return Sniffed(c, l)
    if head[4:8] == b"ftyp":
        return Sniffed("mp4", "MP4")
    if head[:1] == b"\xff" and head[1] & 0xE0 == 0xE0:
        return Sniffed("mp3", "MP3")
    return Sniffed(None, "raw PCM or an unknown format")
