"""The positions of the streams of a chained Ogg file."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

__all__ = ["find_links"]

_HEAD_BYTES: Final = 27
_SEARCH_BYTES: Final = 65_536
_BEGINS: Final = 2  # in the flags of a page: the first of its stream


def find_links(file: BinaryIO, start: int) -> tuple[list[tuple[int, int]], bool]:
    """The links of an Ogg file from `start` on, each (position, bytes), and whether the last page is complete.

    A link begins with the first pages of its streams. Bytes between pages belong to the link before them. Reads only
    the head of each page.
    """
    end = file.seek(0, os.SEEK_END)
    begins = [start]
    at, is_among_first, is_complete = start, True, True
    while at < end:
        file.seek(at)
        head = file.read(_HEAD_BYTES + 255)
        if not head.startswith(b"OggS"):
            at = _next_page(file, at + 1, end)
            continue
        sizes = head[_HEAD_BYTES : _HEAD_BYTES + head[26]] if len(head) >= _HEAD_BYTES else b""
        if len(head) < _HEAD_BYTES or len(sizes) < head[26]:
            is_complete = False
            break
        begins_stream = bool(head[5] & _BEGINS)
        if begins_stream and not is_among_first:
            begins.append(at)
        is_among_first = begins_stream
        at += _HEAD_BYTES + len(sizes) + sum(sizes)
        is_complete = at <= end
    return [(begin, after - begin) for begin, after in zip(begins, [*begins[1:], end], strict=True)], is_complete


def _next_page(file: BinaryIO, at: int, end: int) -> int:
    while at < end:
        file.seek(at)
        block = file.read(_SEARCH_BYTES)
        if not block:
            break
        found = block.find(b"OggS")
        if found >= 0:
            return at + found
        at += max(1, len(block) - 3)
    return end
