"""One upload: the fields of a form, and its file, either as it arrives or from a spool on the disk."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from typing import BinaryIO, Final, TypeVar, cast

from starlette.types import Receive

from voxgate.endpoints.openai.errors import ApiError
from voxgate.endpoints.openai.form import Field, FileBegin, FileEnd, FormEnd, FormParser, Item
from voxgate.runtime.tasks import run_in_thread

__all__ = ["ClientGone", "Spool", "SpoolBudget", "Upload"]

T = TypeVar("T")

WRITE_BYTES: Final = 262_144
READ_BYTES: Final = 65_536
TURN_BYTES: Final = 65_536
"""The form is parsed in pieces of this size; the event loop runs other callbacks in between."""


class ClientGone(Exception):
    """The client left before its request was complete."""


class Upload:
    """The body of one request. Belongs to the loop's thread, and has one caller at a time.

    All methods raise ApiError for a form that is wrong or too large, and for a client that sends nothing for
    `timeout_s`; ClientGone when it left.
    """

    def __init__(self, receive: Receive, parser: FormParser, max_bytes: int, timeout_s: float) -> None:
        """`max_bytes`: of the whole body."""
        self._receive = receive
        self._parser = parser
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._n_bytes = 0
        self._rest = b""  # received, and not parsed
        self._items: deque[Item] = deque()
        self._has_body = self._has_form = False
        self.fields: dict[str, list[str]] = {}
        """The values of each field that has come, in order; `[]` at the end of a name left out."""

    async def until_file(self) -> None:
        """Returns where the bytes of the file begin."""
        while (item := await self._next()) is not None:
            if isinstance(item, FileBegin):
                return
        raise ApiError("expected a file in the field file", "file", "missing_required_parameter")

    async def audio(self) -> bytes | None:
        """The next bytes of the file; None when the form is complete, with the fields behind the file."""
        while (item := await self._next()) is not None:
            if isinstance(item, bytes):
                return item
        return None

    async def _next(self) -> Item | None:
        while True:
            while self._items:
                item = self._items.popleft()
                if isinstance(item, Field):
                    self.fields.setdefault(item.name.removesuffix("[]"), []).append(item.value)
                elif isinstance(item, FormEnd):
                    self._has_form = True
                elif not isinstance(item, FileEnd):
                    return item
            if self._has_form:
                return None
            await self._read()

    async def _read(self) -> None:
        if self._rest:
            await asyncio.sleep(0)
        elif self._has_body:
            self._parser.finish()
            raise AssertionError("a form that is complete has its end")
        else:
            await self._receive_body()
        piece, self._rest = self._rest[:TURN_BYTES], self._rest[TURN_BYTES:]
        self._items.extend(self._parser.feed(piece))

    async def _receive_body(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._receive()
        except TimeoutError:
            text = f"nothing came within {self._timeout_s:g} s"
            raise ApiError(text, None, "timeout", 408, "idle_timeout_s") from None
        if message["type"] != "http.request":
            raise ClientGone
        self._rest = message.get("body", b"")
        self._n_bytes += len(self._rest)
        self._has_body = not message.get("more_body", False)
        if self._n_bytes > self._max_bytes:
            text = f"expected at most {self._max_bytes} bytes (limits.upload_bytes)"
            raise ApiError(text, "file", "file_too_large", 413, "upload_bytes")


class SpoolBudget:
    """The bytes that all uploads of a server may have on the disk. Belongs to the loop's thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.n_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Raises ApiError when so many more do not fit."""
        if self.n_bytes + n_bytes > self._max_bytes:
            text = f"uploads have {self._max_bytes} bytes on the disk already (limits.upload_spool_bytes): try later"
            raise ApiError(text, "file", "spool_full", 503, "upload_spool_bytes")
        self.n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        self.n_bytes -= n_bytes


class Spool:
    """The file of one upload in a temporary file without a name. `close` frees it. Belongs to the loop's thread; the
    disk is used in other threads, one at a time.
    """

    def __init__(self, budget: SpoolBudget) -> None:
        self._budget = budget
        self._n_bytes = 0
        self._pieces: list[bytes] = []
        self._n_waiting = 0
        self._file: BinaryIO | None = None
        self._in_use = threading.Lock()
        self._is_closed = False

    async def take(self, upload: Upload) -> None:
        """Writes the file of `upload`, up to the end of its form, and goes back to the beginning."""
        while (piece := await upload.audio()) is not None:
            self._budget.take(len(piece))
            self._n_bytes += len(piece)
            self._pieces.append(piece)
            self._n_waiting += len(piece)
            if self._n_waiting >= WRITE_BYTES:
                await self._write()
        await self._write()
        await self._run(lambda file: file.seek(0))

    async def audio(self) -> bytes | None:
        """The next bytes; None at the end."""
        return await self._run(lambda file: file.read(READ_BYTES)) or None

    def close(self) -> None:
        """May be called again, and while a thread uses the disk, which then closes the file."""
        if not self._is_closed:
            self._is_closed = True
            self._budget.give_back(self._n_bytes)
            self._pieces.clear()
            if self._in_use.acquire(blocking=False):
                try:
                    self._close_file()
                finally:
                    self._in_use.release()

    async def _write(self) -> None:
        data, self._pieces, self._n_waiting = b"".join(self._pieces), [], 0
        await self._run(lambda file: file.write(data))

    async def _run(self, use: Callable[[BinaryIO], T]) -> T:
        def run() -> T:
            try:
                with self._in_use:
                    if self._file is None:
                        self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - until `close`
                    return use(self._file)
            finally:
                if self._is_closed:
                    self._close_file()

        return await run_in_thread(run, "voxgate-upload-spool", "connection")

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
