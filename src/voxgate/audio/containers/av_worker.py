"""The main function of a decoder process: several streams, a thread each, and a socket to the server.

FFmpeg pulls its input, so a stream has a thread that waits in `read`. The server alone decides when the process ends,
and the process never outlives it: it exits when the socket closes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from typing import Final, NoReturn

from voxgate.audio.containers.av_decoder import Header, Source, decode
from voxgate.audio.containers.base import PIECE_S, BrokenMedia, MediaError, MediaLimit, TruncatedMedia
from voxgate.audio.containers.limits import MediaLimits
from voxgate.audio.containers.messages import Kind, Message, MessageReader, encode
from voxgate.audio.containers.mp3_head import Mp3Head
from voxgate.audio.containers.mp4_boxes import BoxScanner
from voxgate.runtime.tasks import spawn_thread

__all__ = ["main"]

logger = logging.getLogger(__name__)

_READ_BYTES: Final = 1 << 16
_SEEK_BACK_BYTES: Final = 64
_MEMORY_BYTES: Final = 2 << 30
"""The most memory of the process: a header may claim tables of any size."""


def main(socket_fd: int, parent_pid: int, limits: MediaLimits) -> NoReturn:
    """Serves streams until the server closes the socket or dies. Never returns."""
    os.set_inheritable(socket_fd, False)
    sock = socket.socket(fileno=socket_fd)
    _limit_process(parent_pid)
    import av

    av.logging.set_level(av.logging.PANIC)  # what clients send is no business of our log
    lock = threading.Lock()

    def send(message: Message) -> None:
        with lock:
            sock.sendall(encode(message))

    streams: dict[int, _Stream] = {}
    reader = MessageReader()
    with contextlib.suppress(OSError):
        send(Message(Kind.READY, 0))
        while data := sock.recv(_READ_BYTES):
            for message in reader.push(data):
                if message.kind is Kind.OPEN:
                    streams[message.stream] = _Stream(message.stream, message.data.decode(), limits, send)
                    continue
                stream = streams[message.stream]
                if message.kind is Kind.CLOSE:
                    del streams[message.stream]
                stream.requests.put(message)
    os._exit(0)  # not sys.exit: threads wait for data that will not come


class _Closed(Exception):
    """The server needs the stream no more."""


class _Stream:
    """One container, on a thread of its own; for the decoder a file that cannot seek."""

    def __init__(self, number: int, container: str, limits: MediaLimits, send: Callable[[Message], None]) -> None:
        self.requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._number = number
        self._container = container
        self._limits = limits
        self._send = send
        self._input = bytearray()
        self._n_read = 0
        self._is_spooling = False
        self._is_ended = False
        self._pcm: list[bytes] = []  # decoded, and not sent yet
        self._pcm_bytes = 0
        self._piece_bytes = 0
        self._left_header_bytes: int | None = limits.header_bytes  # None: the header is known, or a file is spooled
        self._boxes = BoxScanner() if container == "mp4" else None
        self._head = Mp3Head() if container in ("mp3", "aac") else None
        spawn_thread(self._run, f"voxgate-decoder-{number}", daemon=True, subsystem="media")

    def read(self, n_bytes: int, /) -> bytes:
        """At most `n_bytes` bytes; waits for the first. Empty at the end of the stream."""
        while not (ready_bytes := self._ready_bytes) and not self._is_ended:
            self._flush()  # nothing that is decoded waits for more data
            self._take(self._ask(Kind.WANTS))
        n_bytes = min(n_bytes, ready_bytes)
        if 0 < ready_bytes - n_bytes < _SEEK_BACK_BYTES < n_bytes:
            n_bytes -= _SEEK_BACK_BYTES
        data = bytes(self._input[:n_bytes])
        del self._input[:n_bytes]
        self._n_read += len(data)
        return data

    @property
    def _ready_bytes(self) -> int:
        """How much may be read. At the head of the media in an MP4 file, FFmpeg goes a few bytes back, and can do so
        only in what it got with one read: it gets the boxes before the media at once, however they arrived.
        """
        if self._boxes is None or self._is_ended or self._is_spooling:
            return len(self._input)
        return self._boxes.ready_bytes - self._n_read

    def _run(self) -> None:
        try:
            self._take(self._next())
            try:
                self._decode()
            except MediaError as error:
                self._flush()
                self._fail(error.code, str(error))
            except (_Closed, OSError):
                raise
            except Exception as error:
                logger.warning("a container in %s cannot be decoded: %r", self._container, error)
                self._fail(BrokenMedia.code, "it cannot be decoded")
            else:
                self._send(Message(Kind.OVER, self._number))
        except (_Closed, OSError):
            pass

    def _decode(self) -> None:
        boxes = self._boxes
        if boxes is None:
            self._decode_from(self)
            return
        while boxes.order is None and not self._is_ended:
            self._take(self._ask(Kind.WANTS))
        try:
            if boxes.order == "media first":
                self._decode_spooled(boxes)
            else:
                self._decode_from(self)
        except BrokenMedia:
            if not self._is_ended or boxes.is_complete:
                raise
        if self._is_ended and not boxes.is_complete:
            raise TruncatedMedia("the stream ended inside of the MP4 container")

    def _decode_spooled(self, boxes: BoxScanner) -> None:
        """An MP4 file with its index behind the media: a decoder has to see all of it."""
        self._left_header_bytes = None
        self._is_spooling = True
        with tempfile.TemporaryFile() as file:
            n_bytes = 0
            while data := self.read(_READ_BYTES):
                n_bytes += len(data)
                if n_bytes > self._limits.spool_bytes:
                    raise MediaLimit(
                        f"an MP4 file of more than {self._limits.spool_bytes} bytes (media.spool_bytes) with its index "
                        "at the end: move the index to the front (ffmpeg -movflags faststart)"
                    )
                file.write(data)
            if not boxes.has_index:
                raise TruncatedMedia("the stream ended before the index of the MP4 container")
            file.seek(0)
            self._decode_from(file)

    def _decode_from(self, source: Source) -> None:
        for piece in decode(source, self._container, self._limits.tracks):
            if isinstance(piece, Header):
                self._left_header_bytes = None
                second_bytes = piece.sample_rate * (4 if piece.is_float else 2)
                self._piece_bytes = int(PIECE_S * second_bytes)
                self._ask(Kind.HEADER, json.dumps(piece).encode())
                continue
            if self._pcm_bytes + len(piece) > self._piece_bytes:
                self._flush()
            self._pcm.append(piece)
            self._pcm_bytes += len(piece)
        self._flush()

    def _flush(self) -> None:
        """Sends what is decoded."""
        if self._pcm:
            piece = b"".join(self._pcm)
            self._pcm, self._pcm_bytes = [], 0
            self._ask(Kind.PCM, piece)

    def _take(self, request: Message) -> None:
        if request.kind is Kind.END:
            self._is_ended = True
            self._input += self._head.finish() if self._head is not None else b""
            return
        self._input += request.data if self._head is None else self._head.push(request.data)
        if self._boxes is not None:
            self._boxes.push(request.data)
        if self._left_header_bytes is not None:
            self._left_header_bytes -= len(request.data)
            if self._left_header_bytes < 0:
                raise MediaLimit(f"no audio within {self._limits.header_bytes} bytes (media.header_bytes)")

    def _fail(self, code: str, text: str) -> None:
        self._send(Message(Kind.FAILED, self._number, json.dumps([code, text]).encode()))

    def _ask(self, kind: Kind, data: bytes = b"") -> Message:
        self._send(Message(kind, self._number, data))
        return self._next()

    def _next(self) -> Message:
        request = self.requests.get()
        if request.kind is Kind.CLOSE:
            raise _Closed
        return request


def _limit_process(parent_pid: int) -> None:
    """Only the server decides when this process ends; it takes no more memory than it should."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # when memory runs out, the kernel takes a decoder before the server and its model
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.getppid() != parent_pid:
        os._exit(1)
