"""Streams counted in a real Redis."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voxgate.config import AuthSettings, LimitsSettings, ServerSettings
from voxgate.errors import ConfigError
from voxgate.models.function import FunctionModel
from voxgate.service import redis_counts
from voxgate.service.access import Gate
from voxgate.service.admission import Admission, Permit, Refusal, RefusalKind
from voxgate.service.entry import Entry
from voxgate.service.redis_counts import RedisCounts

pytest.importorskip("redis")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A redis-server of its own, on a Unix socket."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server: apt-get install redis-server")
    path = tmp_path / "redis.sock"
    settings = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    with subprocess.Popen([program, *settings], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "ready to accept connections" in line:
                break
        yield f"unix://{path}"
        process.kill()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_limits_hold_over_servers(url: str) -> None:
    async def main() -> None:
        one, other = RedisCounts(url, 2, True), RedisCounts(url, 2, True)
        first, second = await one.enter("a"), await other.enter("a")
        assert isinstance(first, str)
        assert isinstance(second, str)
        for each in (one, other):
            refused = await each.enter("a")
            assert isinstance(refused, Refusal)
            assert (refused.kind, refused.reason) == (RefusalKind.TOO_MANY, "streams_per_address")
        assert isinstance(await one.enter("b"), str)
        other.leave(second)
        other.leave(second)  # Without effect.
        while isinstance(await other.enter("a"), Refusal):
            pass
        await one.close()
        assert isinstance(await other.enter("a"), str)
        await other.close()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_streams_of_a_server_that_died_expire_and_those_of_others_do_not(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_counts, "EXPIRY_S", 2.0)

    async def main() -> None:
        dead, alive = RedisCounts(url, 1, True), RedisCounts(url, 1, True)
        await dead.enter("a")
        assert dead._renewing is not None
        dead._renewing.cancel()
        monkeypatch.setattr(redis_counts, "RENEW_S", 0.1)
        await alive.enter("b")
        while isinstance(await alive.enter("a"), Refusal):
            await asyncio.sleep(0.05)
        assert isinstance(await alive.enter("b"), Refusal)
        await alive.close()
        await dead._redis.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("fails_open", [True, False])
def test_without_an_answer_it_fails_open_or_closed(
    tmp_path: Path, fails_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        counts = RedisCounts(f"unix://{tmp_path}/nobody.sock", 1, fails_open)
        for _ in range(2):
            found = await counts.enter("a")
            if fails_open:
                assert isinstance(found, str)
                counts.leave(found)
            else:
                assert isinstance(found, Refusal)
                assert (found.kind, found.reason) == (RefusalKind.UNAVAILABLE, "redis")
        await counts.close()

    asyncio.run(main())
    assert caplog.text.count("Redis gives no answer") == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_refused_client_leaves_nothing_behind(url: str) -> None:
    class Calm:
        not_ready = None
        draining_until_s = None
        queue_wait_s = 0.0
        buffered_audio_is_full = False

    async def main() -> None:
        gate = Gate(AuthSettings(), ServerSettings())
        servers = []
        for _ in range(2):
            admission = Admission(LimitsSettings(), AuthSettings(), Calm())
            admission.redis = RedisCounts(url, 1, True)
            servers.append((admission, Entry(gate, admission, FunctionModel(lambda audio: {}), False)))
        (one, enter_one), (other, enter_other) = servers
        client = gate.client("192.0.2.1", False, [])
        permit = await enter_one.admit(client)
        assert isinstance(permit, Permit)
        assert isinstance(await enter_other.admit(client), Refusal)
        assert (one.streams, other.streams) == (1, 0)
        permit.release()
        while isinstance(await enter_other.admit(client), Refusal):
            pass
        assert (one.streams, other.streams) == (0, 1)
        for admission, _ in servers:
            assert admission.redis is not None
            await admission.redis.close()

    asyncio.run(main())


async def n_counted(counts: RedisCounts, address: str) -> int:
    return int(await counts._redis.zcard(redis_counts._key(address)))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_more_streams_than_connections_come_and_go_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_counts, "TIMEOUT_S", 60.0)

    async def main() -> None:
        one, other = RedisCounts(url, 1000, False), RedisCounts(url, 1000, False)
        members = await asyncio.gather(*(one.enter("a") for _ in range(300)))
        assert [each for each in members if isinstance(each, Refusal)] == []
        assert await n_counted(other, "a") == 300
        for each in members:
            assert isinstance(each, str)
            one.leave(each)
        await one.close()
        assert await n_counted(other, "a") == 0
        await other.close()

    asyncio.run(main())
    assert caplog.text == ""


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_closing_takes_a_bounded_time_when_redis_hangs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        counts = RedisCounts(url, 1000, True)
        for n in range(100):
            await counts.enter(f"{n}")
        pid = (await counts._redis.info("server"))["process_id"]
        monkeypatch.setattr(redis_counts, "TIMEOUT_S", 0.2)
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(15):  # One stream after the other would take 20 s.
            await counts.close()

    monkeypatch.setattr(redis_counts, "TIMEOUT_S", 60.0)
    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("outage", ["restart", "at enter"])
def test_open_streams_count_again_after_an_outage(url: str, monkeypatch: pytest.MonkeyPatch, outage: str) -> None:
    monkeypatch.setattr(redis_counts, "RENEW_S", 0.05)

    async def main() -> None:
        one, other = RedisCounts(url, 1, True), RedisCounts(url, 1, True)
        if outage == "restart":
            await one.enter("a")
            await other._redis.flushall()
        else:
            with monkeypatch.context() as patch:
                patch.setattr(one._redis, "eval", _fails)
                assert isinstance(await one.enter("a"), str)
        async with asyncio.timeout(20):
            while await n_counted(other, "a") == 0:
                await asyncio.sleep(0)
        assert isinstance(await other.enter("a"), Refusal)
        await one.close()
        assert await n_counted(other, "a") == 0
        await other.close()

    asyncio.run(main())


async def _fails(*arguments: object) -> object:
    raise ConnectionError


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_renewal_brings_no_stream_back_that_ended_meanwhile(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        one, other = RedisCounts(url, 1, True), RedisCounts(url, 1, True)
        member = await one.enter("a")
        assert isinstance(member, str)
        pipeline = one._redis.pipeline

        def slow(**options: Any) -> Any:
            monkeypatch.undo()
            pipe = pipeline(**options)
            execute = pipe.execute

            async def late() -> None:
                one.leave(member)
                while await n_counted(other, "a"):
                    await asyncio.sleep(0)
                await execute()
                assert await n_counted(other, "a") == 1

            pipe.execute = late
            return pipe

        monkeypatch.setattr(one._redis, "pipeline", slow)
        await one._renew()
        await one.close()
        assert await n_counted(other, "a") == 0
        await other.close()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("error", [TimeoutError, asyncio.CancelledError])
def test_a_stream_that_redis_counted_too_late_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async def main() -> None:
        one, other = RedisCounts(url, 1, False), RedisCounts(url, 1, False)
        ask = one._redis.eval

        async def counts_but_does_not_answer(*arguments: Any) -> None:
            assert await ask(*arguments) == 1
            raise error

        monkeypatch.setattr(one._redis, "eval", counts_but_does_not_answer)
        if error is TimeoutError:
            assert isinstance(await one.enter("a"), Refusal)
        else:
            with pytest.raises(asyncio.CancelledError):
                await one.enter("a")
        await one.close()
        assert await n_counted(other, "a") == 0
        await other.close()

    asyncio.run(main())


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"limits\.redis_url"):
        RedisCounts("http://nowhere", 1, True)
