"""The requests of methods that take one: how large they may be, how long they may take, and how many are read."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from helpers.grpc_client import details
from voxgate.endpoints.grpc.request import MAX_READS, MAX_REQUEST_BYTES, RequestReader

C = grpc.StatusCode


def refusal_of(port: int, path: str, messages):
    with grpc.insecure_channel(f"localhost:{port}") as channel, pytest.raises(grpc.RpcError) as raised:
        list(channel.stream_stream(path)(messages, timeout=30))
    return raised.value


METHODS = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]
CONFIG = "/nvidia.riva.asr.RivaSpeechRecognition/GetRivaSpeechRecognitionConfig"


@pytest.mark.parametrize("path", [*METHODS, CONFIG])
@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([b"\x0a\xff\x3f" + bytes(8191)], "message: expected at most 1024 bytes, got 8194"),
        ([b"\xff"], "message: expected a "),
        ([], "message: expected a "),
    ],
)
def test_a_request_that_is_none(port, path, messages, text):
    error = refusal_of(port, path, iter(messages))
    assert (error.code(), error.details()[: len(text)]) == (C.INVALID_ARGUMENT, text)
    assert details(error)["ErrorInfo"].reason == "invalid_request"


class Context:
    """A call whose message comes when it may."""

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self.may = asyncio.Event()
        self.is_read = False
        self.text = ""

    async def read(self):
        self.is_read = True
        if self.data is None:
            await self.may.wait()
        return self.data

    def set_code(self, code):
        self.code = code

    def set_details(self, text):
        self.text = text

    def set_trailing_metadata(self, metadata):
        pass


def test_a_client_without_a_request_keeps_nobody_out():
    async def run():
        reader = RequestReader(30)
        silent = [Context() for _ in range(MAX_READS)]
        reads = [asyncio.create_task(reader.read(one, bytes, "Request")) for one in silent]
        while not all(one.is_read for one in silent):
            await asyncio.sleep(0)
        assert await reader.read(Context(b"x" * MAX_REQUEST_BYTES), bytes, "Request") == b"x" * MAX_REQUEST_BYTES
        assert await reads[0] is None
        assert silent[0].text.startswith("message: expected a Request within 30 s")
        assert not any(read.done() for read in reads[1:])
        for read in reads:
            read.cancel()

    asyncio.run(run())


def test_a_request_takes_its_time():
    async def run():
        context = Context()
        assert await RequestReader(0).read(context, bytes, "Request") is None
        assert (context.code, context.text) == (
            C.INVALID_ARGUMENT,
            "message: expected a Request within 0 s, got none",
        )

    asyncio.run(run())
