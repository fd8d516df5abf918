"""The HTTP calls: one address, kept connections, and another try while there is time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import httpx

from voxgate.models.openai.answers import BadAnswer, EventDecoder, Transcription, model_names, parse_answer
from voxgate.models.openai.failure import Failure, failure_of
from voxgate.runtime.backoff import Backoff

__all__ = ["Endpoint"]

_MAX_BODY_BYTES = 4 << 20
_CONNECT_S = 5.0
_KEPT_CONNECTIONS = 64
_REST_S = 0.5
"""For what follows the transcript within a stream."""
_BACKOFF_S, _MAX_BACKOFF_S = 0.25, 8.0


class _Deadline:
    """When a call ends at the latest, on the clock of the loop."""

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s

    def shorten(self, to_s: float) -> None:
        """At most `to_s` seconds are left."""
        self.at_s = min(self.at_s, asyncio.get_running_loop().time() + to_s)


class Endpoint:
    """A transcription server. Made on any thread; everything else belongs to one event loop."""

    def __init__(self, url: str, key: str | None, key_variable: str) -> None:
        """url: with the version, without a slash at its end: ``http://localhost:8000/v1``. key: visible ASCII
        characters; None: the server expects none. key_variable: where it came from.
        """
        self.url = url
        self.sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
        """Waits this many seconds between two tries; tests replace it."""
        self._key = key
        self._key_variable = key_variable
        headers = {"Accept-Encoding": "identity"}  # a small answer that expands to gigabytes stays small
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            follow_redirects=False,  # the key is for this server alone
            timeout=httpx.Timeout(None, connect=_CONNECT_S),  # each call has a deadline
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS),
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def models(self, deadline_s: float) -> list[str]:
        """The names of the models that the server lists; empty when it lists none. Raises Failure. deadline_s: on the
        clock of the loop.
        """
        request = self._client.build_request("GET", f"{self.url}/models")
        try:
            async with contextlib.aclosing(self._pieces(request, _Deadline(deadline_s))) as pieces:
                body = b"".join([piece async for _, piece in pieces])
        except Failure as failure:
            if failure.status in (404, 405, 501):
                return []
            raise
        return model_names(body)

    async def transcribe(
        self, fields: Mapping[str, str | list[str]], wav: bytes, deadline_s: float, is_patient: bool = True
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yields what is known up to now each time that the server sends more, then the result.

        fields: of the form, besides the file. deadline_s: when the call ends at the latest, on the clock of the loop.
        is_patient: a try that fails is repeated while there is time, when another may succeed; what was yielded before
        is then yielded again. Raises Failure.
        """
        backoff = Backoff(_BACKOFF_S, _MAX_BACKOFF_S)
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with contextlib.aclosing(self._attempt(fields, wav, deadline_s)) as answers:
                    async for answer in answers:
                        yield answer
                return
            except Failure as failure:
                wait_s = max(failure.wait_s, backoff.next_s() * random.uniform(0.5, 1.0))
                if not (is_patient and failure.again) or loop.time() + wait_s >= deadline_s:
                    raise
            await self.sleep(wait_s)

    async def _attempt(
        self, fields: Mapping[str, str | list[str]], wav: bytes, deadline_s: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        request = self._client.build_request(
            "POST",
            f"{self.url}/audio/transcriptions",
            data=dict(fields),
            files={"file": ("audio.wav", wav, "audio/wav")},
        )
        body, decoder, transcription = bytearray(), EventDecoder(), Transcription()
        deadline = _Deadline(deadline_s)
        is_stream = False
        try:
            async with contextlib.aclosing(self._pieces(request, deadline)) as pieces:
                async for is_stream, piece in pieces:
                    if not is_stream:
                        body += piece
                        continue
                    for event in decoder.push(piece):
                        if not transcription.done and transcription.add(event):
                            yield {"text": transcription.text.strip()}
                    if transcription.done:  # a body that was read to its end leaves its connection for the next call
                        deadline.shorten(_REST_S)
            if not is_stream:
                yield parse_answer(bytes(body))
            elif not transcription.done:
                raise BadAnswer("the stream ended before the transcript did")
        except BadAnswer as error:
            text = "The model server sent no valid transcript"
            raise Failure(text, f"sent no valid transcript: {error}", again=is_stream) from None
        except Failure:
            if not transcription.done:
                raise

    async def _pieces(self, request: httpx.Request, deadline: _Deadline) -> AsyncGenerator[tuple[bool, bytes], None]:
        """The body of the answer, in pieces, each with whether it is a stream of events. Raises Failure."""
        try:
            async with asyncio.timeout_at(deadline.at_s):
                response = await self._client.send(request, stream=True)
            try:
                is_stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
                n_bytes, refusal = 0, b""
                arriving = response.aiter_raw()
                while True:
                    async with asyncio.timeout_at(deadline.at_s):
                        piece = await anext(arriving, None)
                    if piece is None:
                        break
                    n_bytes += len(piece)
                    if n_bytes > _MAX_BODY_BYTES:
                        raise Failure(
                            "The model server sent too long an answer",
                            f"sent an answer of more than {_MAX_BODY_BYTES} bytes",
                        )
                    if response.status_code == 200:
                        yield is_stream, piece
                    else:
                        refusal += piece
                if response.status_code != 200:
                    status, headers = response.status_code, response.headers
                    raise failure_of(status, headers, refusal, self._key, self._key_variable)
            finally:
                await response.aclose()
        except TimeoutError:
            raise Failure("The model server did not answer in time", "did not answer in time") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failure("The model server does not answer", f"does not answer: {error}", again=True) from None
        except httpx.TransportError as error:
            detail = f"lost the connection: {type(error).__name__}: {error}"
            raise Failure("The model server lost the connection", detail, again=True) from None
