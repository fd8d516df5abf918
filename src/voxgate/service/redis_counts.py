"""The streams of all servers that share a Redis, counted together by the address and by the token of the client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from voxgate.errors import ConfigError
from voxgate.runtime.tasks import spawn_task
from voxgate.runtime.throttle import Throttle, and_more
from voxgate.service.admission import Refusal, RefusalKind, full_address, full_token

__all__ = ["RedisCounts"]

logger = logging.getLogger(__name__)

TIMEOUT_S: Final = 0.5
"""Of one question to Redis: a client waits for it."""
RENEW_S: Final = 10.0
"""A server renews its streams this often ..."""
EXPIRY_S: Final = 35.0
"""... and what was not renewed for so long no longer counts: its server is gone."""
_REPORT_EVERY_S: Final = 60.0
_UNAVAILABLE: Final = Refusal(RefusalKind.UNAVAILABLE, "redis", "streams cannot be counted at the moment", 5)

# A sorted set for each address and each token: a member for each stream, with the time at which it expires. Redis's own
# clock counts.
_ENTER: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RENEW: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""


class RedisCounts:
    """Belongs to the loop's thread. No method raises: without an answer of Redis, `fails_open` decides."""

    def __init__(self, url: str, fails_open: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """`url`: ``redis://HOST:PORT/DB``, ``rediss://`` or ``unix://``. Connects to nothing. Raises ConfigError."""
        try:
            from redis import asyncio as redis
        except ImportError:
            raise ConfigError("limits.redis_url needs the extra redis: pip install 'voxgate[redis]'") from None
        try:
            # It waits for a free connection; the pool that `Redis.from_url` makes raises an error instead.
            pool = redis.BlockingConnectionPool.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                max_connections=64,
                timeout=TIMEOUT_S,
            )
            self._redis: Any = redis.Redis.from_pool(pool)
        except ValueError:  # its text may contain a part of the password
            raise ConfigError(
                "limits.redis_url: expected redis://[:PASSWORD@]HOST:PORT/DB, rediss:// or unix://, got another one "
                "(in a password, # / ? and @ are %23 %2F %3F and %40)"
            ) from None
        self._fails_open = fails_open
        self._throttle = Throttle(_REPORT_EVERY_S, clock=clock)
        self._held: dict[str, str] = {}
        """The key of each stream of this server."""
        self._left: dict[str, str] = {}
        """Those that have ended and that Redis may still count."""
        self._closing = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self._removing: asyncio.Task[None] | None = None

    async def enter(self, address: str, max_streams: int) -> str | Refusal:
        """Counts a stream of an address. The stream's id for `leave`; or why it is refused: the address has as many as
        it may, or Redis gives no answer.
        """
        return await self._enter(_key("streams", address), max_streams, full_address)

    async def enter_token(self, key: str, max_streams: int) -> str | Refusal:
        """The same for a token. `key`: stands for the token, and does not contain it."""
        return await self._enter(_key("tokens", key), max_streams, full_token)

    def leave(self, member: str) -> None:
        """The stream has ended. Returns at once; a failure is made good when the entry expires."""
        key = self._held.pop(member, None)
        if key is not None:
            self._remove(key, member)

    async def close(self) -> None:
        """Gives up all streams of this server. Takes at most about `TIMEOUT_S` twice."""
        self._closing.set()
        held, self._held = self._held, {}
        for member, key in held.items():
            self._remove(key, member)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * TIMEOUT_S):
                if self._renewing is not None:  # It removes again what it brings back.
                    await self._renewing
                if self._removing is not None:
                    await self._removing
        for task in (self._renewing, self._removing):
            if task is not None:
                task.cancel()
        await self._redis.aclose()

    async def _enter(self, key: str, max_streams: int, full: Callable[[int, str], Refusal]) -> str | Refusal:
        member = uuid.uuid4().hex
        try:
            async with asyncio.timeout(TIMEOUT_S):
                is_in = await self._redis.eval(_ENTER, 1, key, member, max_streams, int(EXPIRY_S))
        except Exception as error:
            self._report(error)
            if self._fails_open:
                self._hold(key, member)  # Counted from the first renewal that Redis answers.
                return member
            self._remove(key, member)  # Redis may have counted it all the same.
            return _UNAVAILABLE
        except asyncio.CancelledError:
            self._remove(key, member)
            raise
        if not is_in:
            return full(max_streams, ", on all servers")
        self._hold(key, member)
        return member

    def _hold(self, key: str, member: str) -> None:
        self._held[member] = key
        if self._renewing is None:
            self._renewing = spawn_task(self._renew_all(), "redis-renew", "service")

    async def _renew_all(self) -> None:
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(RENEW_S):
                    await self._closing.wait()
            except TimeoutError:
                await self._renew()

    async def _renew(self) -> None:
        """Counts all streams of this server, also those that Redis has lost or never counted."""
        held = dict(self._held)
        try:
            pipe = self._redis.pipeline(transaction=False)
            for member, key in held.items():
                pipe.eval(_RENEW, 1, key, member, int(EXPIRY_S))
            async with asyncio.timeout(RENEW_S):
                await pipe.execute()
        except Exception as error:
            self._report(error)
        for member, key in held.items():
            if member not in self._held:  # It ended meanwhile; Redis may have removed it first, and renewed it then.
                self._remove(key, member)

    def _remove(self, key: str, member: str) -> None:
        self._left[member] = key
        if self._removing is None or self._removing.done():
            self._removing = spawn_task(self._remove_all(), "redis-leave", "service")

    async def _remove_all(self) -> None:
        """All that have ended up to now go together: as many as may end at once need one connection."""
        while self._left:
            left, self._left = self._left, {}
            try:
                pipe = self._redis.pipeline(transaction=False)
                for member, key in left.items():
                    pipe.zrem(key, member)
                async with asyncio.timeout(TIMEOUT_S):
                    await pipe.execute()
            except Exception as error:
                self._report(error)

    def _report(self, error: Exception) -> None:
        n_left_out = self._throttle.admit("redis")
        if n_left_out is not None:
            effect = "not counted across servers" if self._fails_open else "refused"
            logger.warning(
                "Redis gives no answer (%s)%s: new streams are %s", type(error).__name__, and_more(n_left_out), effect
            )


def _key(group: str, name: str) -> str:
    """No address is stored as it is."""
    return f"voxgate:{group}:{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"
