"""The streams of all servers that share a Redis, counted together by the address of the client."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from voxgate.errors import ConfigError, text_of
from voxgate.runtime.tasks import spawn_task
from voxgate.runtime.throttle import Throttle, and_more
from voxgate.service.admission import Refusal, RefusalKind

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

# A sorted set for each address: a member for each stream, with the time at which it expires. Redis's own clock counts.
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
redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[2]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""


class RedisCounts:
    """Belongs to the loop's thread. No method raises: without an answer of Redis, `fails_open` decides."""

    def __init__(
        self, url: str, max_of_address: int, fails_open: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`url`: ``redis://HOST:PORT/DB``, ``rediss://`` or ``unix://``. Connects to nothing. Raises ConfigError."""
        try:
            from redis import asyncio as redis
        except ImportError:
            raise ConfigError("limits.redis_url needs the extra redis: pip install 'voxgate[redis]'") from None
        try:
            self._redis: Any = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, max_connections=64
            )
        except ValueError as error:
            raise ConfigError(f"limits.redis_url cannot be used: {text_of(error)}") from None
        self._max_of_address = max_of_address
        self._fails_open = fails_open
        self._throttle = Throttle(_REPORT_EVERY_S, clock=clock)
        self._held: dict[str, str] = {}
        """The key of each stream of this server."""
        self._renewing: asyncio.Task[None] | None = None

    async def enter(self, address: str) -> str | Refusal:
        """Counts a stream. The stream's id for `leave`; or why it is refused: the address has as many as it may, or
        Redis gives no answer.
        """
        key, member = _key(address), uuid.uuid4().hex
        try:
            async with asyncio.timeout(TIMEOUT_S):
                is_in = await self._redis.eval(_ENTER, 1, key, member, self._max_of_address, int(EXPIRY_S))
        except Exception as error:
            self._report(error)
            return member if self._fails_open else _UNAVAILABLE
        if not is_in:
            text = f"{self._max_of_address} streams are open from this address, on all servers"
            return Refusal(RefusalKind.TOO_MANY, "streams_per_address", text, 5)
        self._held[member] = key
        if self._renewing is None:
            self._renewing = spawn_task(self._renew_all(), "redis-renew", "service")
        return member

    def leave(self, member: str) -> None:
        """The stream has ended. Returns at once; a failure is made good when the entry expires."""
        key = self._held.pop(member, None)
        if key is not None:
            spawn_task(self._remove(key, member), "redis-leave", "service")

    async def close(self) -> None:
        """Gives up all streams of this server."""
        if self._renewing is not None:
            self._renewing.cancel()
        held, self._held = self._held, {}
        for member, key in held.items():
            await self._remove(key, member)
        await self._redis.aclose()

    async def _remove(self, key: str, member: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._redis.zrem(key, member)
        except Exception as error:
            self._report(error)

    async def _renew_all(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                pipe = self._redis.pipeline(transaction=False)
                for member, key in self._held.items():
                    pipe.eval(_RENEW, 1, key, member, int(EXPIRY_S))
                async with asyncio.timeout(RENEW_S):
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


def _key(address: str) -> str:
    """No address is stored as it is."""
    return f"voxgate:streams:{hashlib.blake2b(address.encode(), digest_size=16).hexdigest()}"
