"""Uploads as they arrive, and their spool."""

from __future__ import annotations

import asyncio
import threading

import pytest

from helpers.uploads import BOUNDARY, form
from voxgate.endpoints.openai.errors import ApiError
from voxgate.endpoints.openai.form import FormParser
from voxgate.endpoints.openai.upload import ClientGone, Spool, SpoolBudget, Upload

BODY = form(("model", "x"), ("file", bytes(range(256)) * 1000), ("language", "de"), ("a[]", "1"), ("a[]", "2"))
FILE = bytes(range(256)) * 1000


def upload_of(body, size=10_000, max_bytes=10**9, ends=True, timeout_s=30.0):
    messages = [
        {"type": "http.request", "body": body[at : at + size], "more_body": not ends or at + size < len(body)}
        for at in range(0, len(body), size)
    ]

    async def receive():
        if messages:
            return messages.pop(0)
        if ends:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()

    parser = FormParser(f"multipart/form-data; boundary={BOUNDARY}", 10_000)
    return Upload(receive, parser, max_bytes, timeout_s)


async def whole(source):
    data = b""
    while (piece := await source.audio()) is not None:
        assert len(piece) <= 65_536
        data += piece
    return data


@pytest.mark.parametrize("size", [1000, 65_536, 10**9])
def test_the_file_comes_in_pieces_and_the_fields_behind_it_at_its_end(size):
    async def main():
        upload = upload_of(BODY, size)
        await upload.until_file()
        assert upload.fields == {"model": ["x"]}
        assert await whole(upload) == FILE
        assert upload.fields == {"model": ["x"], "language": ["de"], "a": ["1", "2"]}
        assert await upload.audio() is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: upload_of(form(("model", "x"))), ApiError, "expected a file in the field file"),
        (lambda: upload_of(BODY, max_bytes=1000), ApiError, "expected at most 1000 bytes"),
        (lambda: upload_of(BODY[:50_000]), ApiError, "the form ends before its last boundary"),
        (lambda: upload_of(BODY[:50_000], ends=False, timeout_s=0.01), ApiError, "nothing came within 0.01 s"),
    ],
)
def test_what_goes_wrong(make, error, message):
    async def main():
        upload = make()
        await upload.until_file()
        await whole(upload)

    with pytest.raises(error, match=message):
        asyncio.run(main())


def test_a_client_that_leaves():
    async def receive():
        return {"type": "http.disconnect"}

    upload = Upload(receive, FormParser(f"multipart/form-data; boundary={BOUNDARY}", 1000), 1000, 30)
    with pytest.raises(ClientGone):
        asyncio.run(upload.until_file())


def test_a_spool_gives_back_what_it_took():
    async def main():
        budget, upload = SpoolBudget(10**6), upload_of(BODY)
        spool = Spool(budget)
        await upload.until_file()
        await spool.take(upload)
        assert budget.n_bytes == len(FILE)
        assert await whole(spool) == FILE
        spool.close()
        spool.close()
        assert budget.n_bytes == 0

    asyncio.run(main())


def test_all_spools_together_have_a_size():
    async def main():
        budget = SpoolBudget(len(FILE) + 1000)
        first, second = Spool(budget), Spool(budget)
        upload = upload_of(BODY)
        await upload.until_file()
        await first.take(upload)
        upload = upload_of(BODY)
        await upload.until_file()
        with pytest.raises(ApiError, match=r"limits\.upload_spool_bytes") as caught:
            await second.take(upload)
        assert caught.value.status == 503
        second.close()
        first.close()
        assert budget.n_bytes == 0

    asyncio.run(main())


def test_a_spool_that_is_closed_while_a_thread_uses_it():
    """The thread closes the file: an open one would be a warning, which is an error here."""

    async def main():
        spool, entered, may = Spool(SpoolBudget(10**6)), threading.Event(), threading.Event()

        def use(file):
            entered.set()
            assert may.wait(30)
            return file.write(b"x")

        task = asyncio.create_task(spool._run(use))
        while not entered.is_set():
            await asyncio.sleep(0)
        task.cancel()
        spool.close()
        assert not spool._file.closed
        may.set()
        while not spool._file.closed:
            await asyncio.sleep(0)

    asyncio.run(main())
