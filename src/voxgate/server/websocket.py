"""The websocket of uvicorn, made fit for clients that nobody knows.

What uvicorn leaves open, and what is done about it:

- A message may be begun and never ended, byte by byte or in endless fragments: it has a time and a number of fragments.
- One read may hold ten thousand frames, and a client may send nothing but pings: frames are looked at in small groups,
  between which the event loop turns, and only so many a second; who sends more waits.
- Pongs are written whether or not they are read: nothing more is taken in of a client that does not read.
- A client may read nothing, or never answer the close frame: there is a time for both, and then it is cut off.
- A client that is still sending has to get the close frame, whatever the reason: see `closing`.

The request has been read and checked before (`handshake`); until the application has let the client in, nothing of
what comes behind it is looked at.

No timer is set and no clock is read between one complete message and the next: what a message costs must not grow.

Live audio takes a shortcut. A read that holds nothing but whole binary frames, while nothing else is on its way to the
application, is unmasked here and handed to its listener at once: no frame object, no queue, no turn of a task. Whatever
is not as plain as that goes the long way, and so does everything behind it. The application asks for it by the
extension `SHORTCUT` of its scope (see app.WebSocket); without a listener there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from voxgate._native.frames import binary_payload
from voxgate.config import Config
from voxgate.errors import StreamTimeout
from voxgate.protocol.events import Error
from voxgate.protocol.json_codec import encode_event
from voxgate.server import handshake
from voxgate.server.closing import Closing, FrameSkipper

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
TOO_BIG = 1009

# What has been received is parsed in pieces of this size, which hold 340 frames at most, ...
PIECE_BYTES = 2048
# ... or of this one while a long frame arrives; between pieces with so many frames the event loop turns.
LONG_PIECE_BYTES = 4096
TURN_FRAMES = 64
# Of one read, so much may take the shortcut: about a millisecond of work. The rest goes the long way, in small turns.
SHORTCUT_BYTES = 16_384
SHORTCUT = "voxgate.shortcut"
BETWEEN_FRAMES = StreamReader.at_eof.__code__  # where the parser of websockets waits for the next frame


class Frames(ServerProtocol):
    """The frames of a websocket that is open."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None  # a client may leave in the middle of a message
        super().recv_frame(frame)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One websocket. `settings` are those of a subclass that is made for one server, because uvicorn makes the objects.

    Reading is paused (`read_paused`) while a message waits for the application, until the client has been let in, and
    while it has sent too much or does not read.
    """

    # What a message of live audio touches lies together, and not in a dictionary: with many streams, each of its lines
    # has to come from memory.
    __slots__ = (
        "_began_s", "_is_open", "_lingering", "_listener", "_max_bytes", "_n_frames_left", "_n_turn_frames", "_rest",
        "close_sent", "read_paused",
    )  # fmt: skip

    settings: Config

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits = self.settings.limits
        # What has been received and waits for its turn, from `_rest_pos` on.
        self._rest = b""
        self._rest_pos = 0
        self._going_on: asyncio.Handle | None = None
        self._is_open = False  # the client has been let in
        self._refusal: tuple[int, list[tuple[str, str]], bytes] | None = None  # status, headers, body
        self._skipper: FrameSkipper | None = FrameSkipper()  # None: the client has sent its close frame
        self._lingering = False  # our last byte is written

        self._listener: Callable[[bytes], bool] | None = None
        self._max_bytes = limits.message_bytes
        self._max_fragments = limits.message_fragments
        self._n_fragments = 0
        self._began_s: float | None = None  # when the message began that is not complete
        self._ended = False  # a message has been completed by what was just parsed
        self._message_timer: asyncio.TimerHandle | None = None

        self._frames_per_second = self._n_frames_left = limits.frames_per_second
        self._second_s = self.loop.time()  # when the second began that `_n_frames_left` is for
        self._n_turn_frames = 0

        self._n_written_bytes = 0
        self._n_flushed_bytes = 0  # by the last look
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        for handle in (self._message_timer, self._send_timer, self._going_on):
            if handle is not None:
                handle.cancel()
        self._message_timer = self._send_timer = self._going_on = None
        self._lingering = True
        self._listener = None
        self._rest = b""
        super().connection_lost(exc)
        # Circles, which would hold what was not sent until the garbage collector comes by.
        self.conn.parser.close()
        self.conn.parser_exc = None
        if (scope := getattr(self, "scope", None)) is not None:  # the request was one for a websocket
            scope["extensions"].pop(SHORTCUT, None)

    # In

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if not self._is_open:
            self._rest += data
            self._hold()
            return
        if self._rest:
            self._rest = self._rest[self._rest_pos :] + data
            self._rest_pos = 0
            return
        self._n_turn_frames = 0
        if (
            self._listener is not None
            and self._began_s is None
            and not self.read_paused  # nothing waits for the application
            and not self.close_sent
            and (pos := self._shortcut(data, self._listener))
        ):
            if pos == len(data) and self._n_frames_left > 0:
                return
            data = data[pos:]
        if len(data) > PIECE_BYTES:
            self._rest, self._rest_pos = data, 0
            self._go_on()
            return
        if data:
            self._parse(data)
        if self._n_frames_left <= 0:
            self._go_on()

    def begin(self, scope: dict[str, Any], answer: Response) -> None:
        """Asks the application about a client whose request was good. `answer`: 101, for when it is let in."""
        self.handshake_initiated = True
        self.response = answer
        scope["extensions"][SHORTCUT] = self.listen
        self.scope: Any = scope
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.loop.create_task(self.run_asgi())
        task.add_done_callback(self.on_task_complete)
        self.tasks.add(task)

    def listen(self, listener: Callable[[bytes], bool] | None) -> None:
        """`listener` is given the messages that take the shortcut, one by one. It must not block, and says whether it
        has taken the message: when it has not, that one is received like any other, and so are those behind it.
        """
        self._listener = listener

    def _shortcut(self, data: bytes, listener: Callable[[bytes], bool]) -> int:
        """How many bytes at the beginning of `data` have been taken by the listener: whole frames."""
        end_pos, pos = min(len(data), SHORTCUT_BYTES), 0
        while pos < end_pos and self._n_frames_left > 0:
            payload = binary_payload(data, pos, end_pos, self._max_bytes)
            if payload is None or not listener(payload):
                break
            self._n_frames_left -= 1
            n_bytes = len(payload)
            pos += n_bytes + (6 if n_bytes < 126 else 8)
        return pos

    def _parse(self, data: bytes) -> None:
        conn = self.conn
        if self._skipper is not None and self._skipper.feed(data):
            self._skipper = None
        conn.receive_data(data)
        events = conn.events_received()
        if events:
            self._n_frames_left -= len(events)
            self._n_turn_frames += len(events)
            self._ended = False
            for event in events:
                self._handle(event)
                if self._lingering:
                    return
            if self._ended:
                self._began_s = None
        if conn.parser_exc is not None:
            self.handle_parser_exception()
            return
        if not conn.reader.buffer and conn.current_size is None and self._is_between_frames():
            self._began_s = None  # also when it was a ping that came in two parts
        elif self._began_s is None:
            self._began_s = self.loop.time()
            if self._message_timer is None:
                self._message_timer = self.loop.call_later(self.settings.limits.message_timeout_s, self._check_message)

    def _is_between_frames(self) -> bool:
        """Of what has been parsed, nothing belongs to a frame that is not complete. A header that came alone has left
        the buffer, and then only the parser itself knows of it: by where it waits.
        """
        step: Any = self.conn.parser
        while step.gi_yieldfrom is not None:
            step = step.gi_yieldfrom
        return step.gi_code is BETWEEN_FRAMES

    def _handle(self, event: object) -> None:
        assert isinstance(event, Frame)
        opcode = event.opcode
        if opcode is Opcode.BINARY:
            self._n_fragments = 1
            self.handle_bytes(event)
        elif opcode is Opcode.TEXT:
            self._n_fragments = 1
            self.handle_text(event)
        elif opcode is Opcode.CONT:
            self._n_fragments += 1
            if self._n_fragments > self._max_fragments:
                self._fail(TOO_BIG, f"message of more than {self._max_fragments} fragments")
            else:
                self.handle_cont(event)
        elif opcode is Opcode.PING:
            self._write()  # the pong is there already
        elif opcode is Opcode.CLOSE:
            self.handle_close(event)

    def send_receive_event_to_app(self) -> None:
        self._ended = True
        super().send_receive_event_to_app()

    def _go_on(self) -> None:
        """Works off what has been received, until a message waits for the application, the turn of the loop is long
        enough, this second has had its frames, or the client has to read first. Each of these calls again when it is
        over.
        """
        self._going_on = None
        piece_bytes = PIECE_BYTES
        while self.writable.is_set() and not self._lingering:
            if self._n_frames_left <= 0:
                wait_s = self._second_s + 1.0 - self.loop.time()
                if wait_s > 0:
                    self._hold()
                    self._going_on = self.loop.call_later(wait_s, self._go_on)
                    return
                self._second_s = self.loop.time()
                self._n_frames_left = self._frames_per_second
            if self._n_turn_frames >= TURN_FRAMES and self._rest:
                self._n_turn_frames = 0
                self._hold()
                self._going_on = self.loop.call_soon(self._go_on)
                return
            if not self.queue.empty():
                return  # reading is paused, and `receive` goes on
            if not self._rest:
                self._read_on()
                return
            n_frames, pos = self._n_frames_left, self._rest_pos
            data = self._rest[pos : pos + piece_bytes]
            self._rest_pos = pos + piece_bytes
            if self._rest_pos >= len(self._rest):
                self._rest = b""
            self._parse(data)
            piece_bytes = LONG_PIECE_BYTES if self._n_frames_left == n_frames else PIECE_BYTES

    def _hold(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if self.read_paused and not self._rest and self._going_on is None and self.writable.is_set():
            self.read_paused = False
            if self._began_s is not None:
                self._began_s = self.loop.time()  # the time in which we did not read was not the client's
            if not self.transport.is_closing():
                self.transport.resume_reading()

    async def receive(self) -> Any:
        queue = self.queue
        if self._rest and self._going_on is None and queue.empty():
            self._go_on()
        message = await queue.get()
        if self.read_paused and queue.empty():
            self._read_on()
        return message

    def _check_message(self) -> None:
        self._message_timer = None
        if self._began_s is None or self.close_sent or self.transport.is_closing():
            return
        timeout_s, now_s = self.settings.limits.message_timeout_s, self.loop.time()
        due_s = now_s + timeout_s if self.read_paused else self._began_s + timeout_s
        if now_s < due_s:
            self._message_timer = self.loop.call_at(due_s, self._check_message)
        elif self.handshake_complete:
            error = StreamTimeout(f"a message was not complete within {timeout_s:g} s")
            self.conn.send_text(encode_event(Error(str(error), error.code)).encode())
            self._fail(POLICY_VIOLATION, error.code)

    # Out

    def pause_writing(self) -> None:
        super().pause_writing()
        self._hold()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._going_on is None:
            self._going_on = self.loop.call_soon(self._go_on)

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if kind != "websocket.send":
            if kind.startswith("websocket.http.response"):
                self._send_refusal(message)
            else:
                await super().send(message)
                self._watch_sending()
                if kind == "websocket.accept":
                    self._open()
                elif self.close_timer is not None:
                    self._end()
            return
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        try:
            self.conn.send_text(message["text"].encode())
        except InvalidState:  # it has said goodbye
            raise ClientDisconnected from None
        self._write()

    def _write(self) -> None:
        data = b"".join(self.conn.data_to_send())
        self._n_written_bytes += len(data)
        self.transport.write(data)
        if self._send_timer is None:
            self._watch_sending()

    def _watch_sending(self) -> None:
        """As long as something waits to be sent, a look now and then whether some of it has been."""
        if self._send_timer is None and (n_bytes := self.transport.get_write_buffer_size()):
            self._n_flushed_bytes = self._n_written_bytes - n_bytes
            self._send_timer = self.loop.call_later(self.settings.server.send_timeout_s, self._check_sending)

    def _check_sending(self) -> None:
        self._send_timer = None
        n_bytes = self.transport.get_write_buffer_size()
        if not n_bytes:
            return
        if self._n_written_bytes - n_bytes > self._n_flushed_bytes:
            self._watch_sending()
        else:
            self.transport.abort()

    def _open(self) -> None:
        """The client has been let in: what has come meanwhile are its frames."""
        if not self.handshake_complete or self.disconnected or self.transport.is_closing():
            return
        self.conn = Frames(state=OPEN, max_size=self._max_bytes, logger=self.logger)
        self._is_open = True
        self._go_on()

    def _send_refusal(self, message: Any) -> None:
        """An answer in place of the upgrade."""
        if self.disconnected or self.handshake_complete or self.transport.is_closing():
            raise ClientDisconnected
        if message["type"] == "websocket.http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self._refusal = message["status"], headers, b""
            return
        assert self._refusal is not None
        status, headers, body = self._refusal
        self._refusal = status, headers, body + message["body"]
        if not message.get("more_body", False):
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self.handshake_complete = self.close_sent = True
            self.transport.write(handshake.encode_answer(*self._refusal))
            self._skipper = None  # no frame is answered
            self._end()

    # The end

    def handle_close(self, event: Frame) -> None:
        """The client's close frame: its last one. The answer has been made."""
        if not self.close_sent:
            assert self.conn.close_rcvd is not None
            self._left(self.conn.close_rcvd.code, self.conn.close_rcvd.reason)
            self._write()
        self._end()

    def handle_parser_exception(self) -> None:
        """What the client must not send: the close frame has been made."""
        if not self.close_sent:
            assert self.conn.close_sent is not None
            self._left(self.conn.close_sent.code, self.conn.close_sent.reason)
            self._write()
        self._end()

    def _fail(self, code: int, reason: str) -> None:
        self.conn.send_close(code, reason)
        self.handle_parser_exception()

    def _left(self, code: int, reason: str) -> None:
        """Nothing more is said, and nothing more is received."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_sent = True

    def _end(self) -> None:
        """Our last byte is written."""
        if self._lingering:
            return
        self._lingering = True
        self._listener = None
        rest, self._rest = self._rest[self._rest_pos :], b""
        for handle in (self._message_timer, self._going_on, self.close_timer):
            if handle is not None:
                handle.cancel()
        self.close_timer = Closing(self.loop, self.transport, self, self._skipper, rest).timer
        self._watch_sending()

    def shutdown(self) -> None:
        """A server that goes away says 1001, not 1012 (service restart)."""
        if not self.handshake_complete:
            super().shutdown()
        elif not self.close_sent and not self.transport.is_closing():
            self.conn.send_close(GOING_AWAY)
            self._left(GOING_AWAY, "")
            self._write()
            self._end()
