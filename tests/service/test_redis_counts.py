"""Streams counted in a real Redis."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

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


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"limits\.redis_url"):
        RedisCounts("http://nowhere", 1, True)
