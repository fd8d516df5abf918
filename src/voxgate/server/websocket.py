"""The websocket protocol of the server: frames from `FrameReceiver`, which is compiled, and ASGI for the application.

uvicorn knows it by `ws=`, and by nothing that is private. The request has been read and checked before (`handshake`).

Clients are strangers, so everything has a bound:

- A message may be begun and never ended, byte by byte or in endless fragments: it has a time and a number of fragments.
- One read may hold ten thousand frames, and a client may send nothing but pings: a turn of the event loop takes a small
  group of frames, a second takes `limits.frames_per_second`, and a client that sends more waits.
- Pongs are written whether or not the client reads: while it does not, hardly anything is received from it. A little is
  (READ_ON_BYTES each READ_ON_S), because two kernels whose buffers are both full may not learn of it when one of them
  has room again: an acknowledgement behind data for which there was no room is dropped with it.
- A client may read nothing, or never answer the close frame: both have a time, after which the connection is cut off.
  To read slowly is allowed.
- A client that is still sending has to get the close frame, whatever the reason: see `closing`.

Until the application has accepted the client, the bytes behind its request are kept and not looked at.

Live audio does not wake Python: a binary message goes from the read buffer straight to the listener (`LiveAudio`) that
the application has set with the extension `SHORTCUT` of its scope (see `endpoints.websocket`), and so does the audio
in text messages of APIs that have it there (`TextAudio`). A message is offered only when the application has received
everything in front of it. Without a listener, messages come by `receive`, as ASGI says. With the extension `WRITE`,
messages leave without a task that awaits `send`. The application sets `ENCODE`: an error of this layer in the words of
the client's API.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState
from websockets.http11 import Response

from voxgate._native.live import LiveAudio
from voxgate._native.reader import SocketReader
from voxgate._native.text_audio import TextAudio
from voxgate._native.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    TURN_FRAMES,
    VIOLATION,
    FrameReceiver,
    ReadBuffer,
    build_close,
    build_frame,
)
from voxgate.config import Config
from voxgate.errors import StreamTimeout
from voxgate.protocol.events import Error
from voxgate.server import handshake
from voxgate.server.closing import Closing, FrameSkipper, limit_probing, unsent_bytes

__all__ = ["ENCODE", "SHORTCUT", "TURN_FRAMES", "WRITE", "ClientGone", "WebSocketProtocol"]

NORMAL = 1000
GOING_AWAY = 1001
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011

# From a client that does not read: one read, of at most 64 KiB, in this time, until so much waits.
READ_ON_S = 1.0
READ_ON_BYTES = 1024 * 1024

SHORTCUT = "voxgate.shortcut"
WRITE = "voxgate.write"
ENCODE = "voxgate.encode"
FORBIDDEN = handshake.Refused(403, "forbidden", "the application did not accept the websocket")
FAILED = handshake.Refused(500, "internal", "the application failed")

Message = dict[str, Any]
Listener = LiveAudio | Callable[[bytes], bool]

logger = logging.getLogger(__name__)


class ClientGone(OSError):
    """Something was to be sent to a client that has left, or that the close frame was sent to."""


class WebSocketProtocol(FrameReceiver, asyncio.BufferedProtocol):
    """One websocket. `settings` are those of a subclass that is made for one server, because uvicorn makes the objects;
    the subclass has the memory that the server's sockets read into, and the reader of its plain sockets; TLS is read by
    the transport.

    Reading is paused (`is_held`) while a message waits for the application, until the client has been accepted, and
    while it has sent too much or does not read.
    """

    __slots__ = (
        "_began_s", "_config", "_connections", "_default_headers", "_flushed_bytes", "_going_on", "_lingering",
        "_message_timer", "_queue", "_refusal", "_response", "_second_s", "_send_timer", "_skipper", "_waiter",
        "_written_bytes", "close_sent", "disconnected", "handshake_complete", "loop", "scope", "tasks",
        "transport", "writable",
    )  # fmt: skip

    settings: Config
    read_buffer: ReadBuffer
    reader: SocketReader

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.read_buffer = ReadBuffer()
        cls.reader = SocketReader()

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        limits = self.settings.limits
        self.set_up(
            self.read_buffer,
            max_bytes=limits.message_bytes,
            max_fragments=limits.message_fragments,
            n_frames=limits.frames_per_second,
        )
        self._config = config
        self._connections = server_state.connections
        self._default_headers = server_state.default_headers
        self.tasks = server_state.tasks
        self.loop = _loop or asyncio.get_event_loop()
        self.transport: asyncio.Transport
        self.scope: Message
        self._response: Response

        # What the application has not received; never more than one message, and the end behind it.
        self._queue: list[Message] = []
        self._waiter: asyncio.Future[None] | None = None
        self.handshake_complete = False  # the request is answered
        self.close_sent = False  # nothing more is said
        self.disconnected = False
        self._refusal: tuple[int, list[tuple[str, str]], bytes] | None = None  # status, headers, body
        self._lingering = False  # our last byte is written

        self._going_on: asyncio.Handle | None = None
        self._second_s = self.loop.time()  # when the second began that `n_frames_left` is for
        self._began_s: float | None = None  # when the message began that is not complete
        self._message_timer: asyncio.TimerHandle | None = None

        self.writable = asyncio.Event()
        self.writable.set()
        self._written_bytes = 0
        self._flushed_bytes = 0  # by the last look
        self._send_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None  # while the client does not read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        for handle in (self._message_timer, self._send_timer, self._read_timer, self._going_on):
            if handle is not None:
                handle.cancel()
        self._message_timer = self._send_timer = self._read_timer = self._going_on = None
        self._lingering = True
        self.reader.remove(self)
        self.stop()
        self._put({"type": "websocket.disconnect", "code": 1005 if self.handshake_complete else 1006})
        self._connections.discard(self)
        self.handshake_complete = self.disconnected = True
        self.writable.set()
        if (scope := getattr(self, "scope", None)) is not None:  # the request was one for a websocket
            for name in (SHORTCUT, WRITE):  # cycles, which would live until the next garbage collection
                scope["extensions"].pop(name, None)
        if exc is None:
            self.transport.close()

    def eof_received(self) -> None:
        pass

    # In

    def start_reading(self) -> None:
        """The transport must not be reading."""
        sock = self.transport.get_extra_info("socket")
        is_plain = (
            sock is not None
            and sock.family in (socket.AF_INET, socket.AF_INET6)
            and self.transport.get_extra_info("sslcontext") is None
        )
        if not is_plain or not self.reader.add(self.loop, self, sock.fileno()):
            self.transport.resume_reading()

    def on_read_end(self, error: BaseException | None) -> None:
        """As the transport does it where it reads itself."""
        if error is None:
            self.transport.close()
            return
        self.transport.abort()
        if not isinstance(error, OSError):
            context = {"message": "Fatal error: reading", "exception": error}
            self.loop.call_exception_handler({**context, "transport": self.transport, "protocol": self})

    def begin(self, scope: Message, answer: Response) -> None:
        """Asks the application about a client whose request was good. `answer`: 101, for when it is accepted."""
        self._response = answer
        scope["extensions"][SHORTCUT] = self.listen
        scope["extensions"][WRITE] = self.write_now
        self.scope = scope
        self._put({"type": "websocket.connect"})
        task = self.loop.create_task(self._run_application())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _run_application(self) -> None:
        try:
            await self._config.loaded_app(self.scope, self.receive, self.send)
        except ClientGone:
            pass
        except BaseException:
            logger.exception("Exception in ASGI application\n")
            if self.handshake_complete:
                self._say_goodbye(INTERNAL_ERROR, "")
        self._refuse(FAILED)
        self._say_goodbye(NORMAL, "")

    def listen(self, listener: Listener | None, text_audio: TextAudio | None = None) -> None:
        """`listener` is offered binary messages, and the audio that `text_audio` finds in others, before they come by
        `receive`, one by one, and says whether it has taken this one. It must not block.
        """
        if listener is None or not self.is_stopped:
            self.listener, self.text_audio = listener, text_audio

    def on_input(self) -> None:
        if not self.handshake_complete or not self.writable.is_set():
            self._hold()
        elif self._going_on is None:
            self._go_on()

    def on_rest(self) -> None:
        """Everything is received; a message may be incomplete."""
        if self.is_between:
            self._began_s = None
        elif self._began_s is None or self.rested:
            self._began_s = self.loop.time()
            if self._message_timer is None:
                self._message_timer = self.loop.call_later(self.settings.limits.message_timeout_s, self._check_message)
        self.rested = False
        self.is_timed = self._began_s is not None

    def _go_on(self) -> None:
        """Works off what has been received, until a message waits for the application, the turn of the loop is long
        enough, this second has had its frames, or the client has to read first. Each of these calls again when it is
        over.
        """
        self._going_on = None
        while self.writable.is_set() and not self._lingering:
            if self._queue:
                return  # reading is paused, and `receive` goes on
            if not self.has_event:
                if self.n_frames_left <= 0:
                    wait_s = self._second_s + 1.0 - self.loop.time()
                    if wait_s > 0:
                        self._hold()
                        self._going_on = self.loop.call_later(wait_s, self._go_on)
                        return
                    self._second_s = self.loop.time()
                    self.n_frames_left = self.settings.limits.frames_per_second
                if self.turn_is_over and self.pending_bytes:
                    self.begin_turn()
                    self._hold()
                    self._going_on = self.loop.call_soon(self._go_on)
                    return
            event = self.poll()
            if event is not None:
                self._handle(event)
            elif not self.pending_bytes and self.n_frames_left > 0:
                self.on_rest()
                self._read_on()
                return

    def _handle(self, event: tuple[Any, ...]) -> None:
        kind = event[0]
        if kind == TEXT:
            self._put({"type": "websocket.receive", "text": event[1]})
            self._hold()
        elif kind == BINARY:
            self._put({"type": "websocket.receive", "bytes": event[1]})
            self._hold()
        elif kind == PING:
            self._write(build_frame(PONG, event[1]))
        elif kind == CLOSE:
            _, code, reason, payload = event
            self._leave(code, reason, build_frame(CLOSE, payload))
        elif kind == VIOLATION:
            self._leave(event[1], event[2], build_close(event[1], event[2]))
        else:
            raise AssertionError(f"unexpected event {event!r}")

    def _put(self, message: Message) -> None:
        self._queue.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> Message:
        queue = self._queue
        if not queue and self._going_on is None and self.handshake_complete and (self.pending_bytes or self.has_event):
            self._go_on()
        while not queue:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = queue.pop(0)
        if self.is_held and not queue:
            self._read_on()
        return message

    def _hold(self) -> None:
        if not self._lingering and not self.transport.is_closing():
            self.is_held = True
            if not self.reader.stop(self) and self.transport.is_reading():
                self.transport.pause_reading()

    def _read_on(self) -> None:
        if (
            self.is_held
            and self.handshake_complete
            and not self._lingering
            and not self.pending_bytes
            and not self.has_event
            and self._going_on is None
            and self.writable.is_set()
        ):
            self.is_held = False
            if self._began_s is not None:
                self._began_s = self.loop.time()  # the time in which we did not read was not the client's
            if not self.transport.is_closing() and not self.reader.start(self):
                self.transport.resume_reading()

    def _check_message(self) -> None:
        self._message_timer = None
        if self._began_s is None or self.close_sent or self.transport.is_closing():
            return
        timeout_s, now_s = self.settings.limits.message_timeout_s, self.loop.time()
        due_s = now_s + timeout_s if self.is_held else self._began_s + timeout_s
        if now_s < due_s:
            self._message_timer = self.loop.call_at(due_s, self._check_message)
        else:
            error = StreamTimeout(f"a message was not complete within {timeout_s:g} s")
            encode = self.scope["extensions"].get(ENCODE)
            for text in () if encode is None else encode(Error(str(error), error.code)):
                self._write(build_frame(TEXT, text))
            self._leave(POLICY_VIOLATION, error.code, build_close(POLICY_VIOLATION, error.code))

    # Out

    def pause_writing(self) -> None:
        self.writable.clear()
        self._hold()
        if self._read_timer is None and not self._lingering:
            self._read_timer = self.loop.call_later(READ_ON_S, self._read_a_little)

    def _read_a_little(self) -> None:
        self._read_timer = None
        if self.writable.is_set() or self._lingering or self.transport.is_closing():
            return
        # Until `on_input`.
        if self.pending_bytes < READ_ON_BYTES and not self.reader.start(self) and not self.transport.is_reading():
            self.transport.resume_reading()
        self._read_timer = self.loop.call_later(READ_ON_S, self._read_a_little)

    def resume_writing(self) -> None:
        self.writable.set()
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
        if self._going_on is None and self.handshake_complete:
            self._going_on = self.loop.call_soon(self._go_on)

    def write_now(self, data: str | bytes) -> bool:
        """Sends a message without the way through `send`, if the websocket is open and the client reads. The extension
        `WRITE` of the scope.
        """
        if (
            not self.writable.is_set()
            or not self.handshake_complete
            or self.close_sent
            or self.disconnected
            or self.transport.is_closing()
        ):
            return False
        self._write(build_frame(TEXT if isinstance(data, str) else BINARY, data))
        return True

    async def send(self, message: Message) -> None:
        if not self.writable.is_set():
            await self.writable.wait()
        kind = message["type"]
        if kind == "websocket.send":
            if self.disconnected or self.close_sent:
                raise ClientGone
            if not self.handshake_complete:
                raise RuntimeError("expected websocket.accept before websocket.send")
            text = message.get("text")
            self._write(build_frame(BINARY, message["bytes"]) if text is None else build_frame(TEXT, text))
        elif self.disconnected or (kind != "websocket.accept" and self.transport.is_closing()):
            raise ClientGone
        elif kind == "websocket.close" and self.handshake_complete:
            if self.close_sent:
                raise RuntimeError("unexpected websocket.close: the close frame has been sent")
            self._say_goodbye(message.get("code", NORMAL), message.get("reason") or "")
        elif self.handshake_complete:
            raise RuntimeError(f"unexpected {kind}: the request has been answered")
        elif kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._refuse(FORBIDDEN)
        elif kind == "websocket.http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self._refusal = message["status"], headers, b""
        elif kind == "websocket.http.response.body" and self._refusal is not None:
            status, headers, body = self._refusal
            self._refusal = status, headers, body + message["body"]
            if not message.get("more_body", False):
                self._answer(handshake.encode_answer(*self._refusal))
        else:
            raise RuntimeError(f"unexpected {kind}")

    def _accept(self, message: Message) -> None:
        headers = [*self._default_headers, *message.get("headers", [])]
        fields = self._response.headers
        del fields["Date"]
        for name, value in headers:
            fields[name.decode("latin-1")] = value.decode("latin-1")
        if message.get("subprotocol"):
            fields["Sec-WebSocket-Protocol"] = message["subprotocol"]
        self.handshake_complete = True
        if not self.transport.is_closing():
            self._write(self._response.serialize())
            self._go_on()  # what has come meanwhile are its frames

    def _refuse(self, refused: handshake.Refused) -> None:
        if not self.handshake_complete and not self.transport.is_closing():
            self._answer(handshake.encode_refusal(refused))

    def _answer(self, answer: bytes) -> None:
        """Of HTTP, in place of the upgrade; it ends the connection."""
        self.handshake_complete = self.close_sent = True
        self._put({"type": "websocket.disconnect", "code": 1006})
        self._write(answer)
        self._end(awaits_close=False)

    def _write(self, data: bytes) -> None:
        self._written_bytes += len(data)
        self.transport.write(data)
        if self._send_timer is None:
            self._watch_sending()

    def _watch_sending(self) -> None:
        """As long as something waits to be sent, a look now and then whether the client's kernel has got some of it."""
        if self._send_timer is None and self.transport.get_write_buffer_size():
            limit_probing(self.transport, None)
            self._look_later(unsent_bytes(self.transport))

    def _look_later(self, n_unsent_bytes: int) -> None:
        self._flushed_bytes = self._written_bytes - n_unsent_bytes
        self._send_timer = self.loop.call_later(self.settings.server.send_timeout_s, self._check_sending)

    def _check_sending(self) -> None:
        self._send_timer = None
        n_unsent_bytes = unsent_bytes(self.transport)
        if not n_unsent_bytes:
            limit_probing(self.transport, self.settings.server.send_timeout_s)
        elif self._written_bytes - n_unsent_bytes > self._flushed_bytes:
            self._look_later(n_unsent_bytes)
        else:
            self.transport.abort()

    # The end

    def _say_goodbye(self, code: int, reason: str) -> None:
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self._leave(code, reason, build_close(code, reason))

    def _leave(self, code: int, reason: str, close_frame: bytes) -> None:
        """The last frame of the server, and the last message of the application."""
        self.close_sent = True
        self._put({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._write(close_frame)
        self._end(awaits_close=not self.close_seen)

    def _end(self, awaits_close: bool) -> None:
        """Our last byte is written."""
        self._lingering = True
        self.reader.remove(self)
        n_skip_bytes, rest = self.stop()
        for handle in (self._message_timer, self._read_timer, self._going_on):
            if handle is not None:
                handle.cancel()
        self._message_timer = self._read_timer = self._going_on = None
        skipper = FrameSkipper(n_skip_bytes) if awaits_close else None
        Closing(self.loop, self.transport, self, self.settings.server.send_timeout_s, skipper, rest)
        self._watch_sending()

    def shutdown(self) -> None:
        """The server goes away: uvicorn calls this."""
        self._refuse(FAILED)
        self._say_goodbye(GOING_AWAY, "")
