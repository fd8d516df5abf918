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

from helpers.logged import logged
from voxgate.config import AuthSettings, LimitsSettings, ServerSettings
from voxgate.errors import ConfigError, Overloaded
from voxgate.models.function import FunctionModel
from voxgate.service import redis_counts
from voxgate.service.access import Gate
from voxgate.service.admission import Admission, Permit, Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo
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
        one, other = RedisCounts(url, True), RedisCounts(url, True)
        first, second = await one.enter("a", 2), await other.enter("a", 2)
        assert isinstance(first, str)
        assert isinstance(second, str)
        for each in (one, other):
            refused = await each.enter("a", 2)
            assert isinstance(refused, Refusal)
            assert (refused.kind, refused.reason) == (RefusalKind.TOO_MANY, "streams_per_address")
        assert isinstance(await one.enter("b", 1), str)
        other.leave(second)
        other.leave(second)  # Without effect.
        while isinstance(await other.enter("a", 2), Refusal):
            pass
        await one.close()
        assert isinstance(await other.enter("a", 2), str)
        await other.close()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_streams_of_a_server_that_died_expire_and_those_of_others_do_not(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_counts, "EXPIRY_S", 2.0)

    async def main() -> None:
        dead, alive = RedisCounts(url, True), RedisCounts(url, True)
        await dead.enter("a", 1)
        assert dead._renewing is not None
        dead._renewing.cancel()
        monkeypatch.setattr(redis_counts, "RENEW_S", 0.1)
        await alive.enter("b", 1)
        while isinstance(await alive.enter("a", 1), Refusal):
            await asyncio.sleep(0.05)
        assert isinstance(await alive.enter("b", 1), Refusal)
        await alive.close()
        await dead._redis.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("fails_open", [True, False])
def test_without_an_answer_it_fails_open_or_closed(
    tmp_path: Path, fails_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        counts = RedisCounts(f"unix://{tmp_path}/nobody.sock", fails_open)
        for _ in range(2):
            found = await counts.enter("a", 1)
            if fails_open:
                assert isinstance(found, str)
                counts.leave(found)
            else:
                assert isinstance(found, Refusal)
                assert (found.kind, found.reason) == (RefusalKind.UNAVAILABLE, "redis")
        await counts.close()

    asyncio.run(main())
    assert caplog.text.count("Redis gives no answer") == 1


class Calm:
    """A server without load."""

    not_ready = None
    draining_until_s = None
    queue_wait_s = 0.0
    buffered_audio_is_full = False


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_refused_client_leaves_nothing_behind(url: str) -> None:
    async def main() -> None:
        gate = Gate(AuthSettings(), ServerSettings())
        servers = []
        for _ in range(2):
            admission = Admission(LimitsSettings(streams_per_address=1), AuthSettings(), Calm())
            admission.redis = RedisCounts(url, True)
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


def by_name(token: str) -> bool | str:
    """A hook: two tokens of one client."""
    return "ann" if token in ("first-of-ann", "second-of-ann") else token == "hooked"


class Server:
    """The way into one of several servers, without its sockets."""

    def __init__(self, url: str) -> None:
        auth = AuthSettings(tokens="secret, wide streams=2", hook=f"{__name__}:by_name")
        limits = LimitsSettings(streams_per_token=1)
        self.gate = Gate(auth, ServerSettings())
        self.admission = Admission(limits, auth, Calm())
        self.redis = self.admission.redis = RedisCounts(url, False)
        self.entry = Entry(self.gate, self.admission, FunctionModel(lambda audio: {}), True)

    async def open(self, token: str | None) -> Permit | Refusal:
        return await self.entry.admit(ClientInfo(token=token))

    async def keys(self) -> list[bytes]:
        found: list[bytes] = await self.redis._redis.keys("*")
        return found


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("token", ["secret", "hooked", "second-of-ann"])
def test_a_token_has_so_many_streams_on_all_servers(url: str, token: str) -> None:
    async def main() -> None:
        one, other = Server(url), Server(url)
        first = await one.open(token.replace("second", "first"))
        assert isinstance(first, Permit)
        for server in (one, other):
            refused = await server.open(token)
            assert isinstance(refused, Refusal)
            assert (refused.kind, refused.reason) == (RefusalKind.TOO_MANY, "streams_per_token")
        assert (one.admission.streams, other.admission.streams) == (1, 0)
        pending = await other.open(None)
        assert isinstance(pending, Permit)
        error = await other.entry.check_token(token, ClientInfo(), pending)
        assert isinstance(error, Overloaded)
        pending.release()
        first.release()
        async with asyncio.timeout(20):
            while isinstance(permit := await other.open(token), Refusal):
                pass
        assert len(await one.keys()) == 1
        permit.release()
        await one.redis.close()
        await other.redis.close()
        assert (one.admission._of_token, other.admission._of_token) == ({}, {})

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_redis_gets_no_token_and_nothing_of_an_invalid_one(url: str) -> None:
    async def main() -> None:
        server = Server(url)
        for n in range(20):
            refused = await server.open(f"unknown-{n}")
            assert isinstance(refused, Refusal)
            assert refused.reason == "unauthorized"
        assert await server.keys() == []
        permits = [await server.open(token) for token in ("wide", "wide", "first-of-ann")]
        assert [type(permit) for permit in permits] == [Permit] * 3
        text = repr([(key, await server.redis._redis.zrange(key, 0, -1)) for key in await server.keys()])
        assert text.count("voxgate:tokens:") == 2
        assert not [word for word in ("wide", "ann", "first") if word in text]
        await server.redis.close()
        last = Server(url)
        assert await last.keys() == []
        await last.redis.close()

    asyncio.run(main())


async def n_counted(counts: RedisCounts, address: str) -> int:
    return int(await counts._redis.zcard(redis_counts._key("streams", address)))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_more_streams_than_connections_come_and_go_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_counts, "TIMEOUT_S", 60.0)

    async def main() -> None:
        one, other = RedisCounts(url, False), RedisCounts(url, False)
        members = await asyncio.gather(*(one.enter("a", 1000) for _ in range(300)))
        assert [each for each in members if isinstance(each, Refusal)] == []
        assert await n_counted(other, "a") == 300
        for each in members:
            assert isinstance(each, str)
            one.leave(each)
        await one.close()
        assert await n_counted(other, "a") == 0
        await other.close()

    asyncio.run(main())
    assert logged(caplog) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_closing_takes_a_bounded_time_when_redis_hangs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        counts = RedisCounts(url, True)
        for n in range(100):
            await counts.enter(f"{n}", 1)
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
        one, other = RedisCounts(url, True), RedisCounts(url, True)
        if outage == "restart":
            await one.enter("a", 1)
            await other._redis.flushall()
        else:
            with monkeypatch.context() as patch:
                patch.setattr(one._redis, "eval", _fails)
                assert isinstance(await one.enter("a", 1), str)
        async with asyncio.timeout(20):
            while await n_counted(other, "a") == 0:
                await asyncio.sleep(0)
        assert isinstance(await other.enter("a", 1), Refusal)
        await one.close()
        assert await n_counted(other, "a") == 0
        await other.close()

    asyncio.run(main())


async def _fails(*arguments: object) -> object:
    raise ConnectionError


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_renewal_brings_no_stream_back_that_ended_meanwhile(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        one, other = RedisCounts(url, True), RedisCounts(url, True)
        member = await one.enter("a", 1)
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
        one, other = RedisCounts(url, False), RedisCounts(url, False)
        ask = one._redis.eval

        async def counts_but_does_not_answer(*arguments: Any) -> None:
            assert await ask(*arguments) == 1
            raise error

        monkeypatch.setattr(one._redis, "eval", counts_but_does_not_answer)
        if error is TimeoutError:
            assert isinstance(await one.enter("a", 1), Refusal)
        else:
            with pytest.raises(asyncio.CancelledError):
                await one.enter("a", 1)
        await one.close()
        assert await n_counted(other, "a") == 0
        await other.close()

    asyncio.run(main())


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"limits\.redis_url"):
        RedisCounts("http://nowhere", True)


@pytest.mark.parametrize("url", ["redis://:sec#ret@host:6379/0", "redis://:sec/ret@host", "http://:secret@host"])
def test_an_address_that_is_wrong_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        RedisCounts(url, True)
    assert str(raised.value).startswith("limits.redis_url: expected redis://")
    assert "sec" not in str(raised.value)
