"""The HTTP calls to a transcription server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from starlette.responses import JSONResponse, Response

pytest.importorskip("httpx", reason="httpx is optional: pip install 'voxgate[openai]'")

from helpers.transcription_server import TranscriptionServer, events
from voxgate.models.openai.endpoint import Endpoint
from voxgate.models.openai.failure import Failure
from voxgate.models.openai.wav import wav

T = TypeVar("T")
SILENCE = wav(np.zeros(1600, np.float32), 16_000)


def with_endpoint(remote: TranscriptionServer, work: Callable[[Endpoint, float], Awaitable[T]]) -> T:
    """The result of `work`, which gets an endpoint and a deadline that is far away."""

    async def main() -> T:
        endpoint = Endpoint(remote.url, None, "MY_KEY")
        try:
            return await work(endpoint, asyncio.get_running_loop().time() + 30)
        finally:
            await endpoint.aclose()

    return asyncio.run(main())


def listed(remote: TranscriptionServer) -> list[str]:
    return with_endpoint(remote, lambda endpoint, deadline_s: endpoint.models(deadline_s))


def test_the_models_of_a_server(remote: TranscriptionServer) -> None:
    assert listed(remote) == ["tiny"]
    for status in (404, 405, 501):
        remote.models = JSONResponse({}, status)
        assert listed(remote) == []


@pytest.mark.parametrize(
    ("reply", "text"),
    [(JSONResponse({}, 401), "expects a key"), (Response(bytes(5 << 20)), "sent an answer of more than 4194304 bytes")],
)
def test_a_list_that_is_refused_or_endless(remote: TranscriptionServer, reply: Response, text: str) -> None:
    remote.models = reply
    with pytest.raises(Failure) as raised:
        listed(remote)
    assert text in raised.value.detail


def test_calls_share_a_connection(remote: TranscriptionServer) -> None:
    """Also after an error, and after a stream, which was read to its end."""
    remote.replies.extend([JSONResponse({"text": "a"}), JSONResponse({}, 500)])
    remote.reply = lambda received: events({"type": "transcript.text.done", "text": "a"}, done=True)

    async def work(endpoint: Endpoint, deadline_s: float) -> list[dict[str, Any]]:
        found = []
        for _ in range(5):
            with contextlib.suppress(Failure):
                found += [one async for one in endpoint.transcribe({}, SILENCE, deadline_s, is_patient=False)]
        return found

    assert with_endpoint(remote, work) == [{"text": "a"}] * 4
    assert len(remote.calls) == 5
    assert len({call.peer for call in remote.calls}) == 1


def test_calls_at_once_have_connections_of_their_own(remote: TranscriptionServer) -> None:
    """The first is answered when the last has arrived."""
    n_calls = 40
    all_here = asyncio.Event()

    async def reply(received: Any) -> Response:
        if len(remote.calls) == n_calls:
            all_here.set()
        await asyncio.wait_for(all_here.wait(), 30)
        return JSONResponse({"text": "a"})

    remote.reply = reply

    async def work(endpoint: Endpoint, deadline_s: float) -> list[dict[str, Any]]:
        async def one() -> dict[str, Any]:
            return [answer async for answer in endpoint.transcribe({}, SILENCE, deadline_s)][-1]

        return await asyncio.gather(*[one() for _ in range(n_calls)])

    assert with_endpoint(remote, work) == [{"text": "a"}] * n_calls
