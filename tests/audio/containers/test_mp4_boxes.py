from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from voxgate.audio.containers.mp4_boxes import BoxScanner


def box(name: bytes, n_bytes: int, is_large: bool = False) -> bytes:
    body = b"moov" * (n_bytes // 4)  # looks like a box inside of one
    if is_large:
        return struct.pack(">I4sQ", 1, name, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), name) + body


def scanned(data: bytes, cut_bytes: int = 1 << 20) -> BoxScanner:
    scanner = BoxScanner()
    for at in range(0, len(data), cut_bytes):
        scanner.push(data[at : at + cut_bytes])
    return scanner


BOXES = st.lists(
    st.builds(box, st.sampled_from([b"ftyp", b"moov", b"mdat", b"moof", b"free"]), st.integers(0, 300), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(boxes=BOXES, cut_bytes=st.sampled_from([1, 3, 8, 100]), n_left_out=st.integers(0, 20))
def test_what_it_finds_does_not_depend_on_the_cuts(boxes, cut_bytes, n_left_out):
    data = b"".join(boxes)
    data = data[: max(1, len(data) - n_left_out)]
    whole, cut = scanned(data), scanned(data, cut_bytes)
    assert cut.n_bytes == whole.n_bytes == len(data)
    for name in ("order", "has_index", "is_complete", "ready_bytes"):
        assert getattr(cut, name) == getattr(whole, name)
    assert whole.is_complete == (n_left_out == 0 or sum(map(len, boxes)) - n_left_out in ends(boxes))


def ends(boxes: list[bytes]) -> set[int]:
    at, found = 0, set()
    for one in boxes:
        at += len(one)
        found.add(at)
    return found


def test_the_order_of_index_and_media():
    ftyp, moov, mdat, moof = (box(name, 100) for name in (b"ftyp", b"moov", b"mdat", b"moof"))
    assert scanned(ftyp + moov[:8]).order == "index first"
    assert scanned(ftyp + mdat[:8] + moov).order == "media first"
    assert not scanned(ftyp + mdat).has_index
    assert scanned(ftyp).order is None
    assert scanned(ftyp + moof).order is None


def test_media_may_be_read_as_it_comes_and_the_rest_box_by_box():
    ftyp, moov, mdat = (box(name, 100) for name in (b"ftyp", b"moov", b"mdat"))
    begin = len(ftyp + moov)
    data = ftyp + moov + mdat + ftyp
    ready = [scanned(data[:n]).ready_bytes for n in range(len(data) + 1)]
    assert ready[: begin + 9] == [0] * (begin + 9)  # up to the head of the media
    assert ready[begin + 9 : begin + 109] == list(range(begin + 9, begin + 109))
    assert set(ready[begin + 109 :]) == {begin + 108}


def test_media_up_to_the_end_of_the_file():
    data = box(b"moov", 40) + struct.pack(">I4s", 0, b"mdat") + bytes(1000)
    assert scanned(data).is_complete
    assert scanned(data, 7).ready_bytes == len(data)
